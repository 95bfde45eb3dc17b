"""Cursor pagination, newest first: pages stay consistent while rows are added."""

from base64 import b64decode
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from django.core.exceptions import ValidationError as InvalidValue
from django.db.models import QuerySet
from django.utils import timezone
from rest_framework.exceptions import ValidationError
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request
from rest_framework.views import APIView

from rest.openapi import ORIGIN


class NewestFirst(CursorPagination):
    """Orders by id, which as a UUIDv7 is the creation time, or by the view's `ordering`.

    Unlike DRF's class it responds 400 to an invalid cursor or page size.
    """

    ordering = "-id"
    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 200

    def paginate_queryset(  # type: ignore[override]  # a cursor needs a queryset, whatever the base class takes
        self, queryset: QuerySet[Any], request: Request, view: APIView | None = None
    ) -> list[Any] | None:
        self.ordering = getattr(view, "ordering", self.ordering)
        self.position = queryset.model._meta.get_field(str(self.ordering).lstrip("-"))
        return super().paginate_queryset(queryset, request, view)

    def get_page_size(self, request: Request) -> int:
        text = request.query_params.get("page_size")
        if text is None:
            return self.page_size
        if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
            raise ValidationError({"page_size": f"A whole number from 1 to {self.max_page_size}."})
        return min(int(text), self.max_page_size)

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
        size = {"type": "integer", "minimum": 1, "default": self.page_size}
        description = f"Rows per page; values above {self.max_page_size} mean {self.max_page_size}."
        return [
            {"name": self.cursor_query_param, "in": "query", "required": False, "schema": {"type": "string"}},
            {"name": "page_size", "in": "query", "required": False, "schema": size, "description": description},
        ]
