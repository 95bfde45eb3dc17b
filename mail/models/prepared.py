"""Queries of the sending path that are put together once: Django takes longer for that than the database to answer."""

from collections.abc import Callable, Sequence
from typing import Any

from django.db import connection, models

Build = Callable[[Any], "models.QuerySet[Any, Any]"]


class Prepared:
    """A query that depends on one value, which stands in it as it is stored."""

    def __init__(self, build: Build, example: object, stored: Callable[[Any], object] = lambda value: value) -> None:
        self._build = build
        self._example = example
        self._stored = stored
        self._known: dict[str, tuple[str, Sequence[Any]]] = {}

    def sql(self, value: object) -> tuple[str, list[Any]]:
        """The statement and its parameters, for this value."""
        if connection.vendor not in self._known:
            self._known[connection.vendor] = self._build(self._example).query.sql_with_params()
        statement, params = self._known[connection.vendor]
        example, wanted = self._stored(self._example), self._stored(value)
        return statement, [wanted if param == example else param for param in params]

    def first(self, value: object) -> tuple[Any, ...] | None:
        """The first row as the driver gives it."""
        with connection.cursor() as cursor:
            cursor.execute(*self.sql(value))
            row: tuple[Any, ...] | None = cursor.fetchone()
        return row
