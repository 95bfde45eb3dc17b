"""Fields that take exactly the JSON type that the schema says, and bound what validation costs.

DRF's own fields convert between types, and look at every item and character before they look at the length.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.utils.html import is_html_input

from rest.json_value import NotStorable, to_json
from rest.requests.field_errors import MAX_ERRORS

MAX_TIME_LENGTH = 64


class StringField(serializers.CharField):
    """A string, spaces included; DRF's own also takes numbers."""

    def __init__(self, **options: Any) -> None:
        super().__init__(trim_whitespace=False, **options)

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        if self.max_length is not None and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        text: str = super().to_internal_value(data)
        return text


class PatternField(StringField):
    """A string that matches a pattern as a whole. max_length is required: it is checked before the pattern."""

    def __init__(self, pattern: re.Pattern[str], *, max_length: int, invalid: str, **options: Any) -> None:
        super().__init__(max_length=max_length, error_messages={"pattern": invalid}, **options)
        self.pattern = pattern

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data)
        if not self.pattern.fullmatch(text):
            self.fail("pattern")
        return text


class IntegerField(serializers.IntegerField):
    """A JSON number without a fraction; DRF's own also takes "5". In a form, a string of digits."""

    def to_internal_value(self, data: Any) -> int:
        is_number = isinstance(data, int | float) and not isinstance(data, bool)
        if not (is_number or _is_form(self)):
            self.fail("invalid")
        if isinstance(data, float) and not data.is_integer():
            self.fail("invalid")
        return super().to_internal_value(int(data) if isinstance(data, float) else data)


class NumberField(serializers.FloatField):
    """A JSON number; DRF's own also takes text that looks like one."""

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        return super().to_internal_value(data)


class ChoiceField(serializers.ChoiceField):
    """One of the choices; the error lists them instead of repeating the value."""

    default_error_messages = {"invalid_choice": "Choose one of {choices}."}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str) or data not in self.choices:
            self.fail("invalid_choice", choices=", ".join(map(str, self.choices)))
        return data


class TimeField(serializers.DateTimeField):
    """RFC 3339 with an offset, as UTC. DRF's own takes times without one, and 9999-12-31T23:59:59-14:00."""

    default_error_messages = {  # noqa: RUF012
        "offset": "Give the time with its offset, such as 2026-03-01T12:00:00Z.",
        "length": "This is not a time.",
    }

    def to_internal_value(self, data: Any) -> datetime:
        if not isinstance(data, str):
            self.fail("offset")
        if len(data) > MAX_TIME_LENGTH:
            self.fail("length")
        return super().to_internal_value(data)

    def enforce_timezone(self, value: datetime) -> datetime:
        if value.tzinfo is None:
            self.fail("offset")
        try:
            return value.astimezone(UTC)
        except OverflowError:
            self.fail("overflow", timezone="UTC")


class ListField(serializers.ListField):
    """A list whose length is checked before its items. max_length is required.

    Validation ends after MAX_ERRORS bad items.
    """

    def __init__(self, *, max_length: int, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)

    def to_internal_value(self, data: Any) -> list[Any]:
        if isinstance(data, list | tuple) and len(data) > (self.max_length or 0):
            self.fail("max_length", max_length=self.max_length)
        items: list[Any] = super().to_internal_value(data)
        return items

    def run_child_validation(self, data: Any) -> list[Any]:
        return _validated_items(self.child, enumerate(data), lambda index: index)


class DictField(serializers.DictField):
    """A JSON object with at most max_length names, which is checked before its values.

    Validation ends after MAX_ERRORS bad values.
    """

    default_error_messages = {"max_length": "This may have at most {max_length} names."}  # noqa: RUF012

    def __init__(self, *, max_length: int, **options: Any) -> None:
        super().__init__(**options)
        self.max_length = max_length

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        if isinstance(data, dict) and len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        values: dict[str, Any] = super().to_internal_value(data)
        return values

    def run_child_validation(self, data: Any) -> dict[str, Any]:
        names = [str(name) for name in data]
        return dict(zip(names, _validated_items(self.child, data.items(), str), strict=True))


def _validated_items(child: Any, items: Iterable[tuple[Any, Any]], key: Callable[[Any], Any]) -> list[Any]:
    """The validated values of these pairs. Raises ValidationError with the errors of the first bad ones by key."""
    values, errors = [], {}
    for name, item in items:
        try:
            values.append(child.run_validation(item))
        except serializers.ValidationError as error:
            errors[key(name)] = error.detail
            if len(errors) == MAX_ERRORS:
                break
    if errors:
        raise serializers.ValidationError(errors)
    return values


def _is_form(field: serializers.Field[Any, Any, Any, Any]) -> bool:
    return is_html_input(getattr(field.root, "initial_data", None))


@extend_schema_field({"type": "boolean"})
class BooleanField(serializers.Field[bool, Any, bool, Any]):
    """true or false, or these words in a form; DRF's own also takes "yes", 1, "off" and others."""

    default_error_messages = {"invalid": "This must be true or false."}  # noqa: RUF012

    def to_internal_value(self, data: Any) -> bool:
        words = {"true": True, "false": False} if _is_form(self) else {}
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
