"""Cursor pagination, newest first: pages stay consistent while rows are added."""

from base64 import b64decode
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import accumulate, takewhile
from typing import Any
from urllib.parse import parse_qsl

from django.core.exceptions import ValidationError as InvalidValue
from django.db.models import QuerySet, TextField
from django.db.models.functions import Cast, Coalesce, Length
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

from rest.openapi.parts import ORIGIN

MAX_PAGE_CHARACTERS = 4 * 1024 * 1024
"""Of the large columns of all rows of a page. JSON parsed into Python values takes up to twenty times as many bytes."""


def characters_of(*columns: str) -> Any:
    """An expression: how many characters these columns of JSON or text have together."""
    lengths = [Coalesce(Length(Cast(column, TextField())), 0) for column in columns]
    return sum(lengths[1:], start=lengths[0])


def fitting(sizes: Iterable[int]) -> int:
    """How many rows of these sizes make a page: at least one. Reads no more sizes than it needs."""
    return max(1, len(list(takewhile(lambda total: total <= MAX_PAGE_CHARACTERS, accumulate(sizes)))))


class NewestFirst(CursorPagination):
    """Orders by id (a UUIDv7, so by creation time) or by the view's `ordering`.

    Unlike DRF's class it responds 400 to an invalid cursor or page size. A view whose rows may be large has the
    expression `row_characters`: its pages end before they exceed MAX_PAGE_CHARACTERS, but have at least one row.
    """

    ordering = "-id"
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200
    _most = max_page_size

    def paginate_queryset(  # type: ignore[override]  # a cursor needs a queryset, whatever the base class takes
        self, queryset: QuerySet[Any], request: Request, view: APIView | None = None
    ) -> list[Any] | None:
        self.ordering = getattr(view, "ordering", self.ordering)
        self.position = queryset.model._meta.get_field(str(self.ordering).lstrip("-"))
        row_characters = getattr(view, "row_characters", None)
        if row_characters is None:
            return super().paginate_queryset(queryset, request, view)
        sizes = queryset.values("id", row_characters=row_characters)
        page = super().paginate_queryset(sizes, request, view) or []
        from_cursor = reversed(page) if self.cursor and self.cursor.reverse else page
        self._most = fitting(row["row_characters"] for row in from_cursor)
        if self._most < len(page):
            page = super().paginate_queryset(sizes, request, view) or []
        return list(queryset.filter(pk__in=[row["id"] for row in page]).order_by(*self.ordering))

    def get_page_size(self, request: Request) -> int:
        return min(self._most, self._wanted_size(request))

    def _wanted_size(self, request: Request) -> int:
        text = request.query_params.get("page_size")
        if text is None:
            return self.page_size
        if not (text.isascii() and text.isdigit() and len(text) < 10 and 0 < int(text) <= self.max_page_size):
            raise ValidationError({"page_size": f"A whole number from 1 to {self.max_page_size}."})
        return int(text)

    def decode_cursor(self, request: Request) -> Cursor | None:
        encoded = request.query_params.get(self.cursor_query_param)
        if encoded is None:
            return None
        try:
            return self._parse_cursor(encoded)
        except (ValueError, OverflowError, InvalidValue):
            raise ValidationError({self.cursor_query_param: "Not a cursor of this list."}) from None

    def _parse_cursor(self, encoded: str) -> Cursor:
        text = b64decode(encoded.encode("ascii"), validate=True).decode("ascii")
        fields = dict(parse_qsl(text, keep_blank_values=True, strict_parsing=True))
        offset, reverse, position = int(fields.pop("o", "0")), fields.pop("r", "0") == "1", fields.pop("p", None)
        if not text or fields or not 0 <= offset <= self.offset_cutoff:
            raise ValueError(encoded)
        if position is not None:
            self._check_position(position)
        return Cursor(offset, reverse, position)  # type: ignore[arg-type]  # the stubs expect a number

    def _check_position(self, position: str) -> None:
        """Raises unless the ordering column can be compared with this value."""
        value = self.position.to_python(position)
        if isinstance(value, datetime):
            if timezone.is_naive(value):
                raise ValueError(position)
            value.astimezone(UTC)
        if "\0" in position:
            raise ValueError(position)

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {
                "next": link | {"example": f"{ORIGIN}/api/v1/?cursor=cD0wMTlhYzNmMQ%3D%3D"},
                "previous": link | {"example": None},
                "results": schema,
            },
        }

    def get_schema_operation_parameters(self, view: APIView) -> list[dict[str, Any]]:
        size = {"type": "integer", "minimum": 1, "maximum": self.max_page_size, "default": self.page_size}
        return [
            {"name": self.cursor_query_param, "in": "query", "required": False, "schema": {"type": "string"}},
            {"name": "page_size", "in": "query", "required": False, "schema": size, "description": "Rows per page."},
        ]
