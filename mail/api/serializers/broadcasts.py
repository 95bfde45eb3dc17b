"""Broadcasts as they come in and go out; what makes their messages is a job."""

from typing import Any

from django.urls import reverse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from mail.api.fields import LineField, MailboxField, SenderField, StreamField
from mail.api.serializers.messages import MOST_REPLY_TO, MOST_TAGS, envelope_errors, time_errors
from mail.broadcasts.recipients import MAX_IN_JSON
from mail.importance import Importance
from mail.models import Broadcast
from mail.submit import default_expiry
from rest.fields import BooleanField, StringField
from rest.strict import AnyValueField, StrictSerializer


class BroadcastOptions(StrictSerializer):
    """What is said of all messages of a broadcast."""

    template = StringField(max_length=100)
    importance = serializers.ChoiceField(Importance.choices, required=False, allow_null=True)
    stream = StreamField(required=False, allow_null=True)
    track_opens = BooleanField(required=False, allow_null=True)
    track_clicks = BooleanField(required=False, allow_null=True)
    test_mode = BooleanField(required=False, allow_null=True)
    reply_to = serializers.ListField(child=MailboxField(), required=False, allow_null=True, max_length=MOST_REPLY_TO)
    tags = serializers.ListField(
        child=LineField(min_length=1, max_length=128), required=False, allow_null=True, max_length=MOST_TAGS
    )
    send_at = serializers.DateTimeField(required=False, allow_null=True)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python's, and so cannot be declared like the others."""
        return super().get_fields() | {"from": SenderField(required=False, allow_null=True)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in attrs.items() if value is not None}
        if errors := time_errors(given) | envelope_errors(given) | _too_far(given):
            raise serializers.ValidationError(errors)
        return given


def _too_far(given: dict[str, Any]) -> dict[str, Any]:
    try:
        default_expiry(Importance.BULK, given.get("send_at") or timezone.now())
    except OverflowError:
        return {"send_at": [serializers.ErrorDetail("This is too far ahead.", "overflow")]}
    return {}


class BroadcastRequest(BroadcastOptions):
    """The body of POST mail/broadcasts/ in JSON; each recipient, {"to", "context"?}, is judged by itself."""

    recipients = serializers.ListField(child=AnyValueField(allow_null=True), min_length=1, max_length=MAX_IN_JSON)


class BroadcastUpload(BroadcastOptions):
    """The body of POST mail/broadcasts/ as a form; file: CSV with a column `to`, the others are the context."""

    file = serializers.FileField()


class BroadcastSummary(serializers.Serializer[Any]):
    """A broadcast as its owner sees it in a list."""

    id = serializers.UUIDField()
    url = serializers.URLField()
    job = serializers.URLField(help_text="The job that makes the messages; its result tells of bad rows.")
    messages = serializers.URLField()
    subject = serializers.CharField(help_text="The template's.")
    importance = serializers.ChoiceField(Importance.choices)
    stream = serializers.CharField(allow_null=True)
    tags = serializers.ListField(child=serializers.CharField())
    created_at = serializers.DateTimeField()
    send_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True, help_text="When the last message was made.")
    cancelled_at = serializers.DateTimeField(allow_null=True)
    stopped_at = serializers.DateTimeField(allow_null=True, help_text="Since when the guard keeps its mail back.")
    stop_reason = serializers.CharField(allow_null=True)
    accepted = serializers.IntegerField(min_value=0, help_text="Messages made.")
    refused = serializers.IntegerField(min_value=0, help_text="Bad rows.")
    suppressed = serializers.IntegerField(min_value=0, help_text="Messages made to addresses that are not written to.")


class BroadcastResponse(BroadcastSummary):
    """A broadcast as its owner sees it."""

    figures = serializers.DictField(
        child=serializers.IntegerField(min_value=0), help_text="Messages by status, those that there are."
    )


SHOWN_AS_THEY_ARE = (
    *("id", "subject", "importance", "tags", "created_at", "send_at", "expires_at", "finished_at", "cancelled_at"),
    *("stopped_at", "accepted", "suppressed"),
)


def broadcast_representation(broadcast: Broadcast, request: Request) -> dict[str, Any]:
    """A broadcast as its owner sees it: BroadcastResponse."""
    return broadcast_summary(broadcast, request) | {"figures": broadcast.messages.by_status()}


def broadcast_summary(broadcast: Broadcast, request: Request) -> dict[str, Any]:
    """A broadcast as it is listed: BroadcastSummary."""
    return {name: getattr(broadcast, name) for name in SHOWN_AS_THEY_ARE} | {
        "url": request.build_absolute_uri(reverse("broadcast", args=[broadcast.pk])),
        "job": request.build_absolute_uri(reverse("job", args=[broadcast.pk])),
        "messages": request.build_absolute_uri(f"{reverse('messages')}?broadcast={broadcast.pk}"),
        "refused": broadcast.refusals,
        "stream": broadcast.stream or None,
        "stop_reason": broadcast.stop_reason or None,
    }
