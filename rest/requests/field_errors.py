"""Validation errors as the API reports them: a flat list with dotted field paths, bounded in number and length."""

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, TypedDict

from rest_framework.exceptions import ErrorDetail
from rest_framework.settings import api_settings

MAX_ERRORS = 20
"""Errors that one answer, or one item of a batch, lists."""
MAX_DETAIL, MAX_FIELD = 300, 200
"""Characters: errors may repeat what the client sent, but not at length."""


class FieldError(TypedDict):
    """One error of the input. field: a dotted path; empty if the error is about the whole input."""

    field: str
    code: str
    detail: str


def first_errors(detail: Any) -> list[FieldError]:
    """The first MAX_ERRORS errors in the nested detail of a ValidationError."""
    return list(islice(flatten(detail), MAX_ERRORS))


def flatten(detail: Any, field: str = "") -> Iterator[FieldError]:
    """All errors in the nested detail of a ValidationError."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from flatten(inner, field if name == api_settings.NON_FIELD_ERRORS_KEY else _join(field, name))
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            # A list of strings holds several errors of one field; any other list holds one entry per item.
            yield from flatten(inner, field if isinstance(inner, str) else _join(field, index))
    else:
        code = detail.code if isinstance(detail, ErrorDetail) else "invalid"
        yield FieldError(field=shortened(field, MAX_FIELD), code=code or "invalid", detail=shortened(str(detail)))


def shortened(text: str, most: int = MAX_DETAIL) -> str:
    """The text, cut to so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _join(field: str, name: object) -> str:
    return f"{field}.{name}" if field else str(name)
