"""Serializers of messages. Requests are validated by them; answers are made by plain functions, described by them."""

from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils import timezone
from rest_framework import serializers

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
from mail.models import Message
from mail.status import TERMINAL, Status
from rest.openapi.parts import ORIGIN, UUID_EXAMPLE, example
from rest.requests.batch import ItemsField
from rest.requests.fields import BooleanField, ChoiceField, ListField, ObjectField, StringField, TimeField
from rest.requests.strict import StrictSerializer
from rest.responses import poll_headers
from rest.site import Site

SUMMARY_COLUMNS = (
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
"""Columns that message_summary() needs, for .values()."""

OPTION_COLUMNS = ("track_opens", "track_clicks", "test_mode")
DETAIL_COLUMNS = (*SUMMARY_COLUMNS, *OPTION_COLUMNS, "broadcast_id", "text", "html", "erased_at")
"""Columns that message_detail() needs, for .values()."""

MAX_ATTACHMENTS, MAX_REPLY_TO, MAX_TAGS = 100, 10, 3

MESSAGE = {
    "to": "Ada <ada@example.org>",
    "subject": "Hi {{ name }}",
    "text": "Dear {{ name }}",
    "context": {"name": "Ada"},
    "tags": ["welcome"],
}
"""An example."""


@example(**MESSAGE)
class MessageRequest(StrictSerializer):
    """The body of POST mail/messages/. null means the same as leaving the field out.

    subject, text and html are Django templates, rendered with the context. A named template has its own subject; one
    given here replaces it.
    """

    to = RecipientField()
    reply_to = ListField(child=MailboxField(), required=False, allow_null=True, max_length=MAX_REPLY_TO)
    subject = LineField(required=False, allow_null=True, min_length=1)
    text = SourceField(required=False, allow_null=True, allow_blank=True)
    html = SourceField(required=False, allow_null=True, allow_blank=True)
    template = StringField(required=False, allow_null=True, max_length=100)
    context = ObjectField(required=False, allow_null=True)  # type: ignore[assignment]
    headers = HeadersField(required=False, allow_null=True)
    tags = ListField(
        child=LineField(min_length=1, max_length=128), required=False, allow_null=True, max_length=MAX_TAGS
    )
    metadata = MetadataField(required=False, allow_null=True)
    attachments = ListField(child=AttachmentRequest(), required=False, allow_null=True, max_length=MAX_ATTACHMENTS)
    track_opens = BooleanField(required=False, allow_null=True)
    track_clicks = BooleanField(required=False, allow_null=True)
    test_mode = BooleanField(required=False, allow_null=True)
    importance = ChoiceField(Importance.choices, required=False, allow_null=True)
    stream = StreamField(required=False, allow_null=True)
    send_at = TimeField(required=False, allow_null=True)
    expires_at = TimeField(required=False, allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        """`from` is a keyword of Python, so it cannot be declared as an attribute."""
        return super().get_fields() | {"from": SenderField(required=False, allow_null=True)}

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        given = {name: value for name, value in attrs.items() if value is not None and value != ""}
        errors = _content_errors(given) | _inline_errors(given) | time_errors(given) | envelope_errors(given)
        if errors:
            raise serializers.ValidationError(errors)
        return given


def _content_errors(given: dict[str, Any]) -> dict[str, Any]:
    if "template" in given and ("text" in given or "html" in given):
        return {"template": [serializers.ErrorDetail("Give either a template, or text and html.", "conflict")]}
    if not {"text", "html", "template"} & set(given):
        return {"text": [serializers.ErrorDetail("One of text, html and template is required.", "required")]}
    if "subject" not in given and "template" not in given:
        return {"subject": [serializers.ErrorDetail("This field is required.", "required")]}
    return {}


def _inline_errors(given: dict[str, Any]) -> dict[str, Any]:
    ids = [file["content_id"] for file in given.get("attachments", []) if file.get("content_id")]
    if len(set(ids)) < len(ids):
        return {"attachments": [serializers.ErrorDetail("Two attachments have the same content_id.", "duplicate")]}
    if ids and not {"html", "template"} & set(given):
        return {
            "attachments": [serializers.ErrorDetail("An image with a content_id needs html that shows it.", "html")]
        }
    return {}


def time_errors(given: dict[str, Any]) -> dict[str, Any]:
    expires_at: datetime | None = given.get("expires_at")
    if expires_at is None:
        return {}
    if expires_at <= timezone.now():
        return {"expires_at": [serializers.ErrorDetail("This is in the past.", "past")]}
    if "send_at" in given and expires_at <= given["send_at"]:
        return {"expires_at": [serializers.ErrorDetail("This must be after send_at.", "before_send_at")]}
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


class MessageItems(ItemsField):
    item = MessageRequest


@example(messages=[MESSAGE])
class MessageBatchRequest(StrictSerializer):
    """The body of POST mail/messages/batch/. Each message is validated by itself."""

    messages = MessageItems(min_length=1, max_length=500)


class FailureResponse(serializers.Serializer[Any]):
    """Why it was not delivered."""

    detail = serializers.CharField()

    def get_fields(self) -> dict[str, Any]:
        return {"class": serializers.CharField()} | super().get_fields()


@example(
    url=f"{ORIGIN}/api/v1/mail/messages/{UUID_EXAMPLE}/",
    to=MESSAGE["to"],
    subject="Hi Ada",
    importance="normal",
    status="delivered",
    provider="mailgun",
    tags=["welcome"],
    metadata={"order": "17"},
    expires_at="2026-03-04T12:00:00.000000Z",
    sent_at="2026-03-01T12:00:00.345678Z",
    finished_at="2026-03-01T12:00:01.234567Z",
    **{"from": "Legwork <legwork@mg.example.org>"},
)
class MessageSummary(serializers.Serializer[Any]):
    """A message in a list."""

    id = serializers.UUIDField()
    url = serializers.URLField()
    to = serializers.CharField(allow_blank=True)
    subject = serializers.CharField(allow_blank=True)
    importance = serializers.ChoiceField(Importance.choices)
    stream = serializers.CharField(allow_null=True)
    status = serializers.ChoiceField(Status.choices)
    provider = serializers.CharField(allow_null=True, help_text="The provider that accepted it.")
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
    resend_of = serializers.UUIDField(allow_null=True, help_text="The message that this one sends again.")

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"from": serializers.CharField()}


@example(type="delivered", detail="250 OK", provider="mailgun")
class TimelineEntry(serializers.Serializer[Any]):
    at = serializers.DateTimeField()
    type = serializers.CharField()
    detail = serializers.CharField(allow_blank=True)
    provider = serializers.CharField(allow_null=True)


class MessageResponse(MessageSummary):
    """A message with its timeline."""

    timeline = TimelineEntry(many=True)


class MessageDetail(MessageResponse):
    """A message by itself, with its content."""

    track_opens = serializers.BooleanField(allow_null=True, help_text="null: the setting of the provider's account.")
    track_clicks = serializers.BooleanField(allow_null=True, help_text="null: the setting of the provider's account.")
    test_mode = serializers.BooleanField(help_text="The provider accepts the message but does not deliver it.")
    broadcast = serializers.URLField(allow_null=True, help_text="The job of the broadcast that made it.")
    text = serializers.CharField(allow_null=True, allow_blank=True, help_text="null once erased.")
    html = serializers.CharField(allow_null=True, allow_blank=True, help_text="null once erased.")


def message_detail(row: dict[str, Any], request: Site) -> dict[str, Any]:
    """MessageDetail as a dict, without the timeline, from a row of DETAIL_COLUMNS."""
    bodies = {name: None if row["erased_at"] else row[name] or None for name in ("text", "html")}
    broadcast_id = row["broadcast_id"]
    broadcast = request.build_absolute_uri(reverse("job", args=[broadcast_id])) if broadcast_id else None
    options = {name: row[name] for name in OPTION_COLUMNS}
    return (
        message_summary({name: row[name] for name in SUMMARY_COLUMNS}, request)
        | options
        | bodies
        | {"broadcast": broadcast}
    )


def message_summary(row: dict[str, Any], request: Site) -> dict[str, Any]:
    """MessageSummary as a dict, from a row of SUMMARY_COLUMNS."""
    return represent_message(row, message_url(row["id"], request))


def represent_message(row: dict[str, Any], url: str) -> dict[str, Any]:
    """message_summary() where the message's URL is known and no request is at hand."""
    shown = {"id": row["id"], "url": url, "to": row["to"], "from": row["sender"]} | row
    del shown["sender"]
    named = {name: row[name] or None for name in ("provider", "stream")}
    return {"resend_of": shown.pop("resend_of_id")} | shown | named


def message_url(message_id: object, request: Site) -> str:
    return request.build_absolute_uri(reverse("message", args=[message_id]))


def message_row(message: Message) -> dict[str, Any]:
    """A row of SUMMARY_COLUMNS."""
    return {name: getattr(message, name) for name in SUMMARY_COLUMNS}


def message_poll_headers(row: dict[str, Any]) -> dict[str, str]:
    """Retry-After for a row of SUMMARY_COLUMNS, until the message has finished."""
    due_at = row["send_at"] if row["status"] == Status.SCHEDULED else None
    return poll_headers(row["created_at"], due_at, finished=row["status"] in TERMINAL)
