"""Filters of lists. An empty value is an error, never "no filter"; a time has an offset; errors list the choices."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.utils.dateparse import parse_datetime

EMPTY = "The value is empty; leave the parameter out instead."


class TimeField(django_filters.fields.IsoDateTimeField):  # type: ignore[misc]
    """Converts to UTC and refuses what overflows there: 0001-01-01T00:00:00+14:00 would lie before year 1."""

    default_error_messages = {"invalid": "This is not a time with an offset, such as 2026-03-01T12:00:00Z."}  # noqa: RUF012

    def to_python(self, value: str | None) -> datetime | None:
        """Without Django's guess that a time without an offset is in the server's zone."""
        _refuse_empty(value)
        if value is None:
            return None
        try:
            time = parse_datetime(value)
            if time is None or time.tzinfo is None:
                raise ValueError
            return time.astimezone(UTC)
        except (OverflowError, ValueError):
            raise ValidationError(self.error_messages["invalid"], code="invalid") from None


class TimeFilter(django_filters.IsoDateTimeFilter):  # type: ignore[misc]
    field_class = TimeField


class TextField(forms.CharField):
    def to_python(self, value: Any) -> Any:
        _refuse_empty(value)
        return super().to_python(value)


class TextFilter(django_filters.CharFilter):  # type: ignore[misc]
    field_class = TextField


class UUIDField(forms.UUIDField):
    def to_python(self, value: Any) -> Any:
        _refuse_empty(value)
        return super().to_python(value)


class UUIDFilter(django_filters.UUIDFilter):  # type: ignore[misc]
    field_class = UUIDField


class ChoiceField(django_filters.fields.ChoiceField):  # type: ignore[misc]
    def to_python(self, value: object) -> str:
        if value == "":
            raise ValidationError(self.error_messages["invalid_choice"], "invalid_choice")
        choice: str = super().to_python(value)
        return choice


class ChoiceFilter(django_filters.ChoiceFilter):  # type: ignore[misc]
    field_class = ChoiceField

    def __init__(self, choices: Iterable[tuple[str, Any]]) -> None:
        choices = list(choices)
        super().__init__(choices=choices, error_messages=_messages(choices))


class ChoicesFilter(django_filters.MultipleChoiceFilter):  # type: ignore[misc]
    """A repeatable parameter: any of these."""

    def __init__(self, choices: Iterable[tuple[str, Any]]) -> None:
        choices = list(choices)
        super().__init__(choices=choices, error_messages=_messages(choices))


def _refuse_empty(value: object) -> None:
    if value == "":
        raise ValidationError(EMPTY, "invalid")


def _messages(choices: Iterable[tuple[str, Any]]) -> dict[str, str]:
    return {"invalid_choice": f"Choose one of {', '.join(value for value, _ in choices)}."}
