"""The input fields that messages, templates and broadcasts share."""

import re
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

from mail.addresses.normalize import MAX_ADDRESS_LENGTH
from mail.addresses.parsing import BadAddress, Mailbox, has_control_characters, parse_deliverable, parse_mailbox
from mail.models.stream import LONGEST_NAME, STREAM_NAME
from mail.rendering.budget import MAX_CHARACTERS
from mail.rendering.content import MAX_LINE_LENGTH
from rest.requests.fields import Base64Field, DictField, StringField
from rest.requests.strict import StrictSerializer

MAX_ENVELOPE_BYTES = 15_500
"""Of headers, tags and reply_to together. Mailgun takes 16 KiB, and our own header fields are among them."""
MAX_METADATA_BYTES = 16_000
"""Metadata are stored, and not sent to providers."""
RESERVED_HEADERS = frozenset(
    {
        "bcc",
        "cc",
        "date",
        "dkim-signature",
        "from",
        "list-unsubscribe",
        "list-unsubscribe-post",
        "message-id",
        "mime-version",
        "received",
        "reply-to",
        "return-path",
        "sender",
        "subject",
        "to",
    }
)
"""Header fields that a client may not set: we make them from the message's other fields, or servers add them."""
RESERVED_HEADER_PREFIXES = ("content-", "x-mailgun-", "arc-", "resent-")
RESERVED_METADATA = frozenset({"attempt_id"})
MAX_LINES = 1000
"""Header fields, or items of metadata."""
MAX_NAME_LENGTH = 100
"""Characters in the name of a header field or of an item of metadata."""
FIELD_NAME = re.compile(r"[!-9;-~]+")
CONTENT_ID = re.compile(r"[A-Za-z0-9._@+-]+")
CONTENT_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:; ?[\w-]+=(?:[\w.+-]+|\"[^\"\r\n\\]*\"))*", re.ASCII)


class LineField(StringField):
    """Text of a header field. On one line: a line break would let the client inject further header fields."""

    default_error_messages = {  # noqa: RUF012
        "line": "This may not contain line breaks or other control characters."
    }

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": MAX_LINE_LENGTH} | options)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if has_control_characters(text):
            self.fail("line")
        return text.strip()


class MailboxField(StringField):
    """One address, with or without a display name: `Ada <ada@example.org>`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_ADDRESS_LENGTH, **options)

    def run_validation(self, data: Any = empty) -> Any:
        text: str | None = super().run_validation(data)
        try:
            return text and self.parse(text)
        except BadAddress as error:
            raise serializers.ValidationError(str(error), error.code) from None

    def parse(self, text: str) -> Mailbox:
        return parse_mailbox(text)


class RecipientField(MailboxField):
    """An address whose domain takes mail."""

    def parse(self, text: str) -> Mailbox:
        return parse_deliverable(text)


class SenderField(MailboxField):
    """An address in a domain that we send from: that of MAIL_FROM, or one of MAIL_FROM_DOMAINS."""

    def parse(self, text: str) -> Mailbox:
        mailbox = parse_mailbox(text)
        own = {parse_mailbox(settings.MAIL_FROM).domain, *map(str.lower, settings.MAIL_FROM_DOMAINS)}
        if mailbox.domain not in own:
            raise BadAddress(f"Mail is not sent from {mailbox.domain} here.", "sender")
        return mailbox


@extend_schema_field({"type": "string", "pattern": f"^{STREAM_NAME.pattern}$"})
class StreamField(StringField):
    """The name of a stream."""

    default_error_messages = {  # noqa: RUF012
        "stream": "A stream's name has 1 to 50 characters: a-z, 0-9, - and _, the first a letter or digit."
    }

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or len(data) > LONGEST_NAME or not STREAM_NAME.fullmatch(data):
            self.fail("stream")
        return data


class SourceField(StringField):
    """The source of a Django template."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=MAX_CHARACTERS, **options)


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
class LinesField(DictField):
    """A JSON object of names and lines of text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=LineField(allow_blank=True), max_length=MAX_LINES, **options)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        lines: dict[str, str] = super().to_internal_value(data)
        wrong = {name: [error] for name in lines if (error := self.name_error(name))}
        if wrong:
            raise serializers.ValidationError(wrong)
        return lines

    def name_error(self, name: str) -> str:
        """Why this name is refused; empty if it is allowed."""
        raise NotImplementedError


class HeadersField(LinesField):
    """Additional header fields of a message."""

    def to_internal_value(self, data: Any) -> dict[str, str]:
        lines = super().to_internal_value(data)
        spelled: dict[str, str] = {}
        for name in lines:
            if (first := spelled.setdefault(name.lower(), name)) != name:
                raise serializers.ValidationError({name: [f"This is the same header field as {first}."]}, "duplicate")
        return lines

    def name_error(self, name: str) -> str:
        if len(name) > MAX_NAME_LENGTH or not FIELD_NAME.fullmatch(name):
            return "This is not the name of a header field."
        if name.lower() in RESERVED_HEADERS or name.lower().startswith(RESERVED_HEADER_PREFIXES):
            return "This header field is set by the server and cannot be given."
        return ""


class MetadataField(LinesField):
    """The client's own data about a message, shown with it and in its events."""

    def name_error(self, name: str) -> str:
        if len(name) > MAX_NAME_LENGTH or not FIELD_NAME.fullmatch(name):
            return f"A name has 1 to {MAX_NAME_LENGTH} printable ASCII characters, no spaces and no colons."
        return "This name is reserved." if name.lower() in RESERVED_METADATA else ""


class AttachmentRequest(StrictSerializer):
    """A file that is sent with a message."""

    filename = LineField(min_length=1, max_length=255)
    content_type = LineField(max_length=255, required=False, allow_null=True)
    content = Base64Field()
    content_id = LineField(max_length=100, required=False, allow_null=True)

    def validate_filename(self, name: str) -> str:
        if "/" in name or "\\" in name or name.strip(" .") == "":
            raise serializers.ValidationError("This must be the name of a file, without folders.", "invalid")
        return name

    def validate_content_type(self, value: str | None) -> str | None:
        if value and not CONTENT_TYPE.fullmatch(value):
            raise serializers.ValidationError("This must be a media type, such as application/pdf.", "invalid")
        return value

    def validate_content_id(self, value: str | None) -> str | None:
        if value is not None and not CONTENT_ID.fullmatch(value):
            raise serializers.ValidationError("This may only contain letters, digits and . _ @ + -", "invalid")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("content_id") and not (attrs.get("content_type") or "").lower().startswith("image/"):
            detail = "A file with a content_id must be an image: give an image/… content_type."
            raise serializers.ValidationError({"content_type": [serializers.ErrorDetail(detail, "image")]})
        return attrs


def envelope_size(headers: dict[str, str], tags: list[str], reply_to: list[str]) -> int:
    """Bytes of headers, tags and reply_to as Mailgun counts them: with the names of its parameters."""
    replies = {"Reply-To": ", ".join(reply_to)} if reply_to else {}
    lines = [f"h:{name}{line}" for name, line in (headers | replies).items()]
    return byte_size([*lines, *(f"o:tag{tag}" for tag in tags)])


def byte_size(texts: Iterable[str]) -> int:
    return sum(len(text.encode()) for text in texts)
