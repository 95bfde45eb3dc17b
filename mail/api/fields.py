"""The fields that messages, templates and broadcasts are made of, as they come in."""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty
from rest_framework.utils.html import is_html_input

from mail.addresses import normalize, parsing
from mail.addresses.parsing import BadAddress, Mailbox
from mail.rendering import SIZE
from rest.json_value import NotStorable, json_value
from rest.strict import StrictSerializer

LONGEST_LINE = 998
"""Of a header field, in characters (RFC 5322, section 2.1.1)."""
ENVELOPE = 15_500
"""Bytes that headers, tags and reply_to may have together. Mailgun takes 16 KiB, and our own are among them."""
METADATA = 16_000
"""Bytes; they stay here."""
OURS = frozenset(
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
"""Header fields that a message does not say itself: they are made from its other fields, or on the way."""
OURS_BEGIN = ("content-", "x-mailgun-", "arc-", "resent-")
RESERVED_METADATA = frozenset({"attempt_id"})
STREAM_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")
FIELD_NAME = re.compile(r"[!-9;-~]+")
CONTENT_ID = re.compile(r"[A-Za-z0-9._@+-]+")
CONTENT_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:; ?[\w-]+=(?:[\w.+-]+|\"[^\"\r\n\\]*\"))*", re.ASCII)


class StringField(serializers.CharField):
    """A string as it was sent; DRF's own takes numbers for strings, too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        text: str = super().to_internal_value(data)
        return text


class LineField(StringField):
    """Text of a header field: on one line, so that nobody writes header fields of his own with it."""

    default_error_messages = {"line": "This has no line breaks and no other control characters."}  # noqa: RUF012

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"max_length": LONGEST_LINE} | options)

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if parsing.has_control_characters(text):
            self.fail("line")
        return text.strip()


class MailboxField(StringField):
    """One address, with or without a name: `Ada <ada@example.org>`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=normalize.LONGEST, **options)

    def run_validation(self, data: Any = empty) -> Any:
        text: str | None = super().run_validation(data)
        try:
            return text and self.found(text)
        except BadAddress as error:
            raise serializers.ValidationError(str(error), error.code) from None

    def found(self, text: str) -> Mailbox:
        return parsing.parsed(text)


class RecipientField(MailboxField):
    """An address whose domain takes mail."""

    def found(self, text: str) -> Mailbox:
        return parsing.deliverable(text)


class SenderField(MailboxField):
    """An address of a domain that we send from: MAIL_FROM's, or one of MAIL_FROM_DOMAINS."""

    def found(self, text: str) -> Mailbox:
        mailbox = parsing.parsed(text)
        own = {parsing.parsed(settings.MAIL_FROM).domain, *map(str.lower, settings.MAIL_FROM_DOMAINS)}
        if mailbox.domain not in own:
            raise BadAddress(f"Mail is not sent from {mailbox.domain} here.", "sender")
        return mailbox


@extend_schema_field({"type": "string", "pattern": f"^{STREAM_NAME.pattern}$"})
class StreamField(StringField):
    """The name of a stream."""

    default_error_messages = {  # noqa: RUF012
        "stream": "A stream's name has 1 to 50 of a-z, 0-9, - and _, and begins with a letter or digit."
    }

    def to_internal_value(self, data: Any) -> str:
        name = super().to_internal_value(data)
        if not STREAM_NAME.fullmatch(name):
            self.fail("stream")
        return name


@extend_schema_field({"type": "boolean"})
class TruthField(serializers.Field[bool, Any, bool, Any]):
    """true or false as JSON has them, or as words in a form; DRF's own takes many other values for them."""

    default_error_messages = {"invalid": "This is true or false."}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> bool:
        words = {"true": True, "false": False} if is_html_input(self.root.initial_data) else {}
        if isinstance(data, bool):
            return data
        if not isinstance(data, str) or data not in words:
            self.fail("invalid")
        return words[data]

    def to_representation(self, value: bool) -> bool:
        return value


class SourceField(StringField):
    """A Django template, as it was written."""

    def __init__(self, **options: Any) -> None:
        super().__init__(max_length=SIZE, **options)


@extend_schema_field({"type": "object", "additionalProperties": True})
class ContextField(serializers.JSONField):
    """What a template is rendered with: a JSON object."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("This is a JSON object.", "invalid")
        try:
            json_value(data)
        except NotStorable as error:
            raise serializers.ValidationError(f"This {error}.", "unstorable") from None
        return data


@extend_schema_field({"type": "object", "additionalProperties": {"type": "string"}})
class LinesField(serializers.DictField):
    """A JSON object of names and lines of text."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=LineField(allow_blank=True), **options)

    def to_internal_value(self, data: Any) -> dict[str, str]:
        lines: dict[str, str] = super().to_internal_value(data)
        wrong = {name: [reason] for name in lines if (reason := self.refusal(name))}
        if wrong:
            raise serializers.ValidationError(wrong)
        return lines

    def refusal(self, name: str) -> str:
        """Why a name cannot be; empty when it can."""
        raise NotImplementedError


class HeadersField(LinesField):
    """Header fields that a message has besides those that we set."""

    def to_internal_value(self, data: Any) -> dict[str, str]:
        lines = super().to_internal_value(data)
        spelled: dict[str, str] = {}
        for name in lines:
            if (first := spelled.setdefault(name.lower(), name)) != name:
                raise serializers.ValidationError({name: [f"This is the same header field as {first}."]}, "duplicate")
        return lines

    def refusal(self, name: str) -> str:
        if not FIELD_NAME.fullmatch(name) or len(name) > 100:
            return "This is not the name of a header field."
        if name.lower() in OURS or name.lower().startswith(OURS_BEGIN):
            return "This header field is set here, or on the way."
        return ""


class MetadataField(LinesField):
    """What the client wants to find again in the message and its events."""

    def refusal(self, name: str) -> str:
        if not FIELD_NAME.fullmatch(name) or len(name) > 100:
            return "A name has 1 to 100 printable ASCII characters, no spaces and no colons."
        return "This name is ours." if name.lower() in RESERVED_METADATA else ""


@extend_schema_field({"type": "string", "contentEncoding": "base64"})
class Base64Field(serializers.Field[bytes, str, str, Any]):
    default_error_messages = {"invalid": "This is not base64 (RFC 4648, section 4)."}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> bytes:
        if not isinstance(data, str):
            self.fail("invalid")
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            self.fail("invalid")

    def to_representation(self, value: bytes) -> str:
        return base64.b64encode(value).decode()


class AttachmentRequest(StrictSerializer):
    """A file that goes with a message."""

    filename = LineField(min_length=1, max_length=255)
    content_type = LineField(max_length=255, required=False, allow_null=True)
    content = Base64Field()
    content_id = LineField(max_length=100, required=False, allow_null=True)

    def validate_filename(self, name: str) -> str:
        if "/" in name or "\\" in name or name.strip(" .") == "":
            raise serializers.ValidationError("This is the name of a file, without folders.", "invalid")
        return name

    def validate_content_type(self, value: str | None) -> str | None:
        if value and not CONTENT_TYPE.fullmatch(value):
            raise serializers.ValidationError("This is not a media type, such as application/pdf.", "invalid")
        return value

    def validate_content_id(self, value: str | None) -> str | None:
        if value is not None and not CONTENT_ID.fullmatch(value):
            raise serializers.ValidationError("This has letters, digits and . _ @ + - only.", "invalid")
        return value

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs.get("content_id") and not (attrs.get("content_type") or "").lower().startswith("image/"):
            detail = "A file with a content_id is an image, and its content_type says so."
            raise serializers.ValidationError({"content_type": [serializers.ErrorDetail(detail, "image")]})
        return attrs


def envelope_size(headers: dict[str, str], tags: list[str], reply_to: list[str]) -> int:
    """Bytes of what goes with a message besides its content, counted as Mailgun does: with its names for them."""
    replies = {"Reply-To": ", ".join(reply_to)} if reply_to else {}
    lines = [f"h:{name}{line}" for name, line in (headers | replies).items()]
    return size([*lines, *(f"o:tag{tag}" for tag in tags)])


def size(texts: Iterable[str]) -> int:
    return sum(len(text.encode()) for text in texts)
