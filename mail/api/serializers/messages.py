"""What comes in and goes out: input is validated here; output is a plain function, with serializers for the schema."""

from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils import timezone
from rest_framework import serializers
from rest_framework.request import Request

from mail.api.fields import (
    MAX_ENVELOPE_BYTES,
    MAX_METADATA_BYTES,
    AttachmentRequest,
    HeadersField,
    LineField,
    MailboxField,
    MetadataField,
    RecipientField,
    SenderField,
    SourceField,
    StreamField,
    byte_size,
    envelope_size,
)
from mail.importance import Importance
from mail.status import Status
from rest.fields import BooleanField, ObjectField, StringField
from rest.strict import AnyValueField, StrictSerializer

SHOWN = (
    "id",
    "to",
    "sender",
    "subject",
    "importance",
    "stream",
    "status",
    "provider",
    "tags",
    "metadata",
    "created_at",
    "send_at",
    "expires_at",
    "sent_at",
    "finished_at",
    "opens",
    "clicks",
    "possible_duplicate",
    "failure",
    "resend_of_id",
)
"""The columns that representation() needs, for .values()."""

OPTIONS = ("track_opens", "track_clicks", "test_mode")
DETAILED = (*SHOWN, *OPTIONS, "broadcast_id", "text", "html", "erased_at")
"""The columns that detail() needs."""

MOST_ATTACHMENTS, MOST_REPLY_TO, MOST_TAGS = 100, 10, 3
NEEDS_CONTENT = "One of text, html and template is required."


class MessageRequest(StrictSerializer):
    """The body of POST mail/messages/; null means the same as leaving out.

    subject, text and html are Django templates, rendered with the context. A template brings its own subject, which one
    given here replaces.
    """

    to = RecipientField()
    reply_to = serializers.ListField(child=MailboxField(), required=False, allow_null=True, max_length=MOST_REPLY_TO)
    subject = LineField(required=False, allow_null=True, min_length=1)
    text = SourceField(required=False, allow_null=True, allow_blank=True)
    html = SourceField(required=False, allow_null=True, allow_blank=True)
    template = StringField(required=False, allow_null=True, max_length=100)
    context = ObjectField(required=False, allow_null=True)  # type: ignore[assignment]
    headers = HeadersField(required=False, allow_null=True)
    tags = serializers.ListField(
        child=LineField(min_length=1, max_length=128), required=False, allow_null=True, max_length=MOST_TAGS
    )
    metadata = MetadataField(required=False, allow_null=True)
    attachments = serializers.ListField(
        child=AttachmentRequest(), required=False, allow_null=True, max_length=MOST_ATTACHMENTS
    )
    track_opens = BooleanField(required=False, allow_null=True)
    track_clicks = BooleanField(required=False, allow_null=True)
    test_mode = BooleanField(required=False, allow_null=True)
    importance = serializers.ChoiceField(Importance.choices, required=False, allow_null=True)
    stream = StreamField(required=False, allow_null=True)
    send_at = serializers.DateTimeField(required=False, allow_null=True)
    expires_at = serializers.DateTimeField(required=False, allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        """`from` is a word of Python's, and so cannot be declared like the others."""
        return super().get_fields() | {"from": SenderField(required=False, allow_null=True)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in attrs.items() if value is not None and value != ""}
        errors = _content_errors(given) | _inline_errors(given) | time_errors(given) | envelope_errors(given)
        if errors:
            raise serializers.ValidationError(errors)
        return given


def _content_errors(given: dict[str, Any]) -> dict[str, Any]:
    if "template" in given and ("text" in given or "html" in given):
        return {"template": [serializers.ErrorDetail("Either a template or text and html.", "conflict")]}
    if not {"text", "html", "template"} & set(given):
        return {"text": [serializers.ErrorDetail(NEEDS_CONTENT, "required")]}
    if "subject" not in given and "template" not in given:
        return {"subject": [serializers.ErrorDetail("This field is required.", "required")]}
    return {}


def _inline_errors(given: dict[str, Any]) -> dict[str, Any]:
    ids = [file["content_id"] for file in given.get("attachments", []) if file.get("content_id")]
    if len(set(ids)) < len(ids):
        return {"attachments": [serializers.ErrorDetail("Two have the same content_id.", "duplicate")]}
    if ids and not {"html", "template"} & set(given):
        return {"attachments": [serializers.ErrorDetail("An image with a content_id needs html.", "html")]}
    return {}


def time_errors(given: dict[str, Any]) -> dict[str, Any]:
    expires_at: datetime | None = given.get("expires_at")
    if expires_at is None:
        return {}
    if expires_at <= timezone.now():
        return {"expires_at": [serializers.ErrorDetail("This lies in the past.", "past")]}
    if "send_at" in given and expires_at <= given["send_at"]:
        return {"expires_at": [serializers.ErrorDetail("This is not after send_at.", "before_send_at")]}
    return {}


def envelope_errors(given: dict[str, Any]) -> dict[str, Any]:
    reply_to = [mailbox.written for mailbox in given.get("reply_to", [])]
    sent = envelope_size(given.get("headers", {}), given.get("tags", []), reply_to)
    if sent > MAX_ENVELOPE_BYTES:
        detail = f"headers, tags and reply_to have {sent} bytes together; {MAX_ENVELOPE_BYTES} are allowed."
        return {"headers": [serializers.ErrorDetail(detail, "max_length")]}
    metadata = given.get("metadata", {})
    if (kept := byte_size([*metadata, *metadata.values()])) > MAX_METADATA_BYTES:
        detail = f"metadata has {kept} bytes; {MAX_METADATA_BYTES} are allowed."
        return {"metadata": [serializers.ErrorDetail(detail, "max_length")]}
    return {}


class MessageBatchRequest(StrictSerializer):
    """The body of POST mail/messages/batch/; each message is judged by itself."""

    messages = serializers.ListField(child=AnyValueField(allow_null=True), min_length=1, max_length=500)


class FailureResponse(serializers.Serializer[Any]):
    """Why it was not delivered."""

    detail = serializers.CharField()

    def get_fields(self) -> dict[str, Any]:
        return {"class": serializers.CharField()} | super().get_fields()


class MessageSummary(serializers.Serializer[Any]):
    """A message as its owner sees it in a list."""

    id = serializers.UUIDField()
    url = serializers.URLField()
    to = serializers.CharField(allow_blank=True)
    subject = serializers.CharField(allow_blank=True)
    importance = serializers.ChoiceField(Importance.choices)
    stream = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(Status.choices)
    provider = serializers.CharField(allow_null=True, help_text="Who accepted it.")
    tags = serializers.ListField(child=serializers.CharField())
    metadata = serializers.DictField(child=serializers.CharField(allow_blank=True))
    created_at = serializers.DateTimeField()
    send_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField()
    sent_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    opens = serializers.IntegerField(min_value=0)
    clicks = serializers.IntegerField(min_value=0)
    possible_duplicate = serializers.BooleanField()
    failure = FailureResponse(allow_null=True)
    resend_of = serializers.UUIDField(allow_null=True, help_text="The message that this one repeats.")

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"from": serializers.CharField()}


class TimelineEntry(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    type = serializers.CharField()
    detail = serializers.CharField(allow_blank=True)
    provider = serializers.CharField(allow_null=True)


class MessageResponse(MessageSummary):
    """A message as its owner sees it."""

    timeline = TimelineEntry(many=True)


class MessageDetail(MessageResponse):
    """A message as its owner reads it by itself."""

    track_opens = serializers.BooleanField(allow_null=True, help_text="null: as the provider's account says.")
    track_clicks = serializers.BooleanField(allow_null=True, help_text="null: as the provider's account says.")
    test_mode = serializers.BooleanField(help_text="The provider accepts it and does not deliver it.")
    broadcast = serializers.URLField(allow_null=True, help_text="The job that made it.")
    text = serializers.CharField(allow_null=True, allow_blank=True, help_text="null once it was erased.")
    html = serializers.CharField(allow_null=True, allow_blank=True, help_text="null once it was erased.")


def detail(row: dict[str, Any], request: Request) -> dict[str, Any]:
    """A row of DETAILED columns as its owner sees it, without the timeline: MessageDetail."""
    bodies = {name: None if row["erased_at"] else row[name] or None for name in ("text", "html")}
    broadcast_id = row["broadcast_id"]
    broadcast = request.build_absolute_uri(reverse("job", args=[broadcast_id])) if broadcast_id else None
    options = {name: row[name] for name in OPTIONS}
    return representation({name: row[name] for name in SHOWN}, request) | options | bodies | {"broadcast": broadcast}


def representation(row: dict[str, Any], request: Request) -> dict[str, Any]:
    """A row of SHOWN columns as its owner sees it: MessageSummary."""
    shown = {"id": row["id"], "url": url_of(row["id"], request), "to": row["to"], "from": row["sender"]} | row
    del shown["sender"]
    named = {name: row[name] or None for name in ("provider", "stream")}
    return {"resend_of": shown.pop("resend_of_id")} | shown | named


def url_of(message_id: object, request: Request) -> str:
    return request.build_absolute_uri(reverse("message", args=[message_id]))
