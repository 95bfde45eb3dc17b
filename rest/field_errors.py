"""What is wrong with an input, as clients are told: a flat list with dotted paths."""

from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

from rest_framework.exceptions import ErrorDetail
from rest_framework.settings import api_settings


class FieldError(TypedDict):
    """One thing wrong with the input; the field is a dotted path, empty for the input as a whole."""

    field: str
    code: str
    detail: str


def flatten(detail: Any, field: str = "") -> Iterator[FieldError]:
    """Nested error details (of serializers, lists and dicts of them) as a flat list with dotted paths."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            yield from flatten(inner, field if name == api_settings.NON_FIELD_ERRORS_KEY else _join(field, name))
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            # A list of texts are several errors of one field; a list of anything else has one entry per item.
            yield from flatten(inner, field if isinstance(inner, str) else _join(field, index))
    else:
        code = detail.code if isinstance(detail, ErrorDetail) else "invalid"
        yield FieldError(field=field, code=code or "invalid", detail=str(detail))


def _join(field: str, name: object) -> str:
    return f"{field}.{name}" if field else str(name)
