"""Fields that take exactly the JSON type that the schema says; DRF's own convert between types."""

import base64
import binascii
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.utils.html import is_html_input

from rest.json_value import NotStorable, to_json


class StringField(serializers.CharField):
    """A string, spaces included; DRF's own also takes numbers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        text: str = super().to_internal_value(data)
        return text


@extend_schema_field({"type": "boolean"})
class BooleanField(serializers.Field[bool, Any, bool, Any]):
    """true or false, or these words in a form; DRF's own also takes "yes", 1, "off" and others."""

    default_error_messages = {"invalid": "This must be true or false."}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> bool:
        words = {"true": True, "false": False} if is_html_input(self.root.initial_data) else {}
        if isinstance(data, bool):
            return data
        if not isinstance(data, str) or data not in words:
            self.fail("invalid")
        return words[data]

    def to_representation(self, value: bool) -> bool:
        return value


@extend_schema_field({"type": "object", "additionalProperties": True})
class ObjectField(serializers.JSONField):
    """A JSON object that the database can store."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise serializers.ValidationError("This must be a JSON object.", "invalid")
        try:
            to_json(data)
        except NotStorable as error:
            raise serializers.ValidationError(f"This {error}.", "unstorable") from None
        return data


@extend_schema_field({"type": "string", "contentEncoding": "base64"})
class Base64Field(serializers.Field[bytes, str, str, Any]):
    """Bytes as base64 text (RFC 4648, section 4)."""

    default_error_messages = {"invalid": "This must be base64 (RFC 4648, section 4)."}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> bytes:
        if not isinstance(data, str):
            self.fail("invalid")
        try:
            return base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError):
            self.fail("invalid")

    def to_representation(self, value: bytes) -> str:
        return base64.b64encode(value).decode()
