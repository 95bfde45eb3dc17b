"""Serializers of broadcasts, for requests and answers."""

from typing import Any

from django.urls import reverse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from mail.api.fields import LineField, MailboxField, SenderField, StreamField
from mail.api.serializers.messages import MAX_REPLY_TO, MAX_TAGS, envelope_errors, time_errors
from mail.broadcasts.recipients import MAX_IN_JSON, RecipientRequest
from mail.importance import Importance
from mail.models import Broadcast
from mail.submit import default_expiry
from rest.openapi.parts import ORIGIN, UUID_EXAMPLE, example
from rest.requests.batch import ItemsField
from rest.requests.fields import BooleanField, ChoiceField, ListField, StringField, TimeField
from rest.requests.strict import StrictSerializer


class BroadcastOptions(StrictSerializer):
    """The options that all messages of a broadcast share."""

    template = StringField(max_length=100)
    importance = ChoiceField(Importance.choices, required=False, allow_null=True)
    stream = StreamField(required=False, allow_null=True)
    track_opens = BooleanField(required=False, allow_null=True)
    track_clicks = BooleanField(required=False, allow_null=True)
    test_mode = BooleanField(required=False, allow_null=True)
    reply_to = ListField(child=MailboxField(), required=False, allow_null=True, max_length=MAX_REPLY_TO)
    tags = ListField(
        child=LineField(min_length=1, max_length=128), required=False, allow_null=True, max_length=MAX_TAGS
    )
    send_at = TimeField(required=False, allow_null=True)
    expires_at = TimeField(required=False, allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        """`from` is a keyword of Python, so it cannot be declared as an attribute."""
        return super().get_fields() | {"from": SenderField(required=False, allow_null=True)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in attrs.items() if value is not None}
        if errors := time_errors(given) | envelope_errors(given) | _overflow_errors(given):
            raise serializers.ValidationError(errors)
        return given


def _overflow_errors(given: dict[str, Any]) -> dict[str, Any]:
    try:
        default_expiry(Importance.BULK, given.get("send_at") or timezone.now())
    except OverflowError:
        return {"send_at": [serializers.ErrorDetail("This is too far in the future.", "overflow")]}
    return {}


class RecipientItems(ItemsField):
    item = RecipientRequest


@example(
    template="news",
    recipients=[
        {"to": "Ada <ada@example.org>", "context": {"name": "Ada"}},
        {"to": "grace@example.org", "context": {"name": "Grace"}},
    ],
)
class BroadcastRequest(BroadcastOptions):
    """The body of POST mail/broadcasts/ as JSON. Each recipient, {"to", "context"?}, is validated by itself."""

    recipients = RecipientItems(min_length=1, max_length=MAX_IN_JSON)


class BroadcastUpload(BroadcastOptions):
    """The body of POST mail/broadcasts/ as a form. file: CSV with a column `to`; the other columns are the context."""

    file = serializers.FileField()


@example(
    url=f"{ORIGIN}/api/v1/mail/broadcasts/{UUID_EXAMPLE}/",
    job=f"{ORIGIN}/api/v1/jobs/{UUID_EXAMPLE}/",
    messages=f"{ORIGIN}/api/v1/mail/messages/?broadcast={UUID_EXAMPLE}",
    subject="News for {{ name }}",
    importance="bulk",
    stream="news",
    tags=["march"],
    finished_at="2026-03-01T12:00:02.345678Z",
    accepted=2,
)
class BroadcastSummary(serializers.Serializer[Any]):
    """A broadcast in a list."""

    id = serializers.UUIDField()
    url = serializers.URLField()
    job = serializers.URLField(help_text="The job that makes the messages; its result lists bad rows.")
    messages = serializers.URLField()
    subject = serializers.CharField(help_text="That of the template.")
    importance = serializers.ChoiceField(Importance.choices)
    stream = serializers.CharField(allow_null=True)
    tags = serializers.ListField(child=serializers.CharField())
    created_at = serializers.DateTimeField()
    send_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True, help_text="When the last message was made.")
    cancelled_at = serializers.DateTimeField(allow_null=True)
    stopped_at = serializers.DateTimeField(allow_null=True, help_text="When the guard stopped its mail.")
    stop_reason = serializers.CharField(allow_null=True)
    accepted = serializers.IntegerField(min_value=0, help_text="Messages made.")
    refused = serializers.IntegerField(min_value=0, help_text="Bad rows.")
    suppressed = serializers.IntegerField(min_value=0, help_text="Messages made to suppressed addresses.")


@example(figures={"delivered": 1, "sent": 1})
class BroadcastResponse(BroadcastSummary):
    """A broadcast by itself."""

    figures = serializers.DictField(
        child=serializers.IntegerField(min_value=0), help_text="Messages by status; statuses without any are left out."
    )


UNCHANGED_FIELDS = (
    *("id", "subject", "importance", "tags", "created_at", "send_at", "expires_at", "finished_at", "cancelled_at"),
    *("stopped_at", "accepted", "suppressed"),
)


def broadcast_representation(broadcast: Broadcast, request: Request) -> dict[str, Any]:
    """BroadcastResponse as a dict."""
    return broadcast_summary(broadcast, request) | {"figures": broadcast.messages.by_status()}


def broadcast_summary(broadcast: Broadcast, request: Request) -> dict[str, Any]:
    """BroadcastSummary as a dict."""
    return {name: getattr(broadcast, name) for name in UNCHANGED_FIELDS} | {
        "url": request.build_absolute_uri(reverse("broadcast", args=[broadcast.pk])),
        "job": request.build_absolute_uri(reverse("job", args=[broadcast.pk])),
        "messages": request.build_absolute_uri(f"{reverse('messages')}?broadcast={broadcast.pk}"),
        "refused": broadcast.refusals,
        "stream": broadcast.stream or None,
        "stop_reason": broadcast.stop_reason or None,
    }
