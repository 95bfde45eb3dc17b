"""Validation errors as the API reports them: a flat list with dotted field paths."""

from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

from rest_framework.exceptions import ErrorDetail
from rest_framework.settings import api_settings


class FieldError(TypedDict):
    """One error of the input. field: a dotted path; empty if the error is about the whole input."""

    field: str
    code: str
    detail: str


def flatten(detail: Any, field: str = "") -> Iterator[FieldError]:
    """Flatten the nested detail of a ValidationError."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from flatten(inner, field if name == api_settings.NON_FIELD_ERRORS_KEY else _join(field, name))
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            # A list of strings holds several errors of one field; any other list holds one entry per item.
            yield from flatten(inner, field if isinstance(inner, str) else _join(field, index))
    else:
        code = detail.code if isinstance(detail, ErrorDetail) else "invalid"
        yield FieldError(field=field, code=code or "invalid", detail=str(detail))


def _join(field: str, name: object) -> str:
    return f"{field}.{name}" if field else str(name)
