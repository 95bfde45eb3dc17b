"""Tables whose rows can be watched: each has the columns user_id and version, and the triggers of rest/migrations."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from django.db.models import QuerySet, Value

from rest.pagination import MAX_PAGE_CHARACTERS, fitting

CHUNK = 500
"""Rows that one statement reads at most."""
FEW = 8
"""Rows that are read together without asking for their sizes first."""
REST = 1000
"""Characters that a row counts for in addition to its texts."""
LARGEST = 2**63 - 1
"""No version is higher."""


class Topic(NamedTuple):
    """What is watched: one row of a table (its id), or all rows of an owner (the user's id)."""

    table: str
    key: UUID | int


@dataclass(slots=True)
class State:
    """A row as it was read. version: grows with every change of the row. values: the columns of Table.rows.

    characters: how large it is. waiting: how many watchers have not taken it yet.
    settled: a watcher of all its owner's rows that is told of it knows all changes up to this version.
    rendered: texts that were made from it, shared by all who watch it.
    """

    id: UUID
    owner: int | None
    version: int
    values: dict[str, Any]
    settled: int = LARGEST
    rendered: dict[object, bytes] = field(default_factory=dict)
    characters: int = REST
    waiting: int = 0


Key = TypeVar("Key")
Complete = Callable[[list[dict[str, Any]]], None]


def _is_complete(rows: list[dict[str, Any]]) -> None:
    """Nothing else belongs to these rows."""


@dataclass(frozen=True)
class Table:
    """name: in the database. rows: a query of `values()` of what is shown, with user_id and version. JSON that may be
    large is text there: parsed into Python values it takes up to twenty times as many bytes.

    complete: adds what other tables hold to many rows at once. row_characters: an expression for the size of a row, if
    it may be large.
    """

    name: str
    rows: Callable[[], "QuerySet[Any, dict[str, Any]]"]
    complete: Complete = _is_complete
    row_characters: Any = field(default_factory=lambda: Value(0))

    def row(self, row_id: UUID) -> Topic:
        return Topic(self.name, row_id)

    def of_owner(self, user_id: int) -> Topic:
        """All rows of this user."""
        return Topic(self.name, user_id)

    def portions(self, ids: Collection[UUID]) -> Iterator[list[UUID]]:
        """These rows, as many at a time as fit a page."""
        left = list(ids)
        while left:
            most = self._fitting(left)
            yield left[:most]
            left = left[most:]

    def fit_together(self, ids: Collection[UUID]) -> bool:
        """Whether all of these rows fit a page."""
        return self._fitting(list(ids)) == len(ids)

    def states(self, ids: Collection[UUID]) -> list[State]:
        """The present states of rows that fit a page; nothing of rows that do not exist."""
        found = list(self.rows().filter(pk__in=ids).order_by()) if ids else []
        self.complete(found)
        return [_state(row) for row in found]

    def page(self, owner: int, since: int, limit: int) -> tuple[list[State], bool]:
        """The states of the first rows of this owner that changed after this version, oldest change first; fewer than
        the limit if they are large. Also True if no more follow.
        """
        rows = self.rows().filter(user_id=owner, version__gt=since).order_by("version")
        found = list(rows.values_list("pk", flat=True)[:limit])
        ids = found[: self._fitting(found)]
        return sorted(self.states(ids), key=lambda state: state.version), len(ids) == len(found) < limit

    def changed_since(self, versions: Mapping[int, int], limit: int) -> set[UUID]:
        """The ids of rows that have changed since. versions: by owner, what is known of each owner's rows. If more than
        the limit are returned, there may be still more.

        Reads the index entries of all rows of these owners: an index of versions would cost every UPDATE more.
        """
        changed: set[UUID] = set()
        for chunk in _chunks(versions):
            since = min(versions[owner] for owner in chunk)
            rows = self.rows().filter(user_id__in=chunk, version__gt=since).order_by()
            changed.update(rows.values_list("pk", flat=True)[: limit + 1])
        return changed

    def owners(self, ids: Collection[UUID]) -> dict[int, int]:
        """The owners of these rows, each with the newest version among them."""
        newest: dict[int, int] = {}
        for chunk in _chunks(ids):
            rows = self.rows().filter(pk__in=chunk, user_id__isnull=False).order_by()
            for owner, version in rows.values_list("user_id", "version"):
                newest[owner] = max(version, newest.get(owner, version))
        return newest

    def versions(self, ids: Collection[UUID]) -> dict[UUID, int]:
        """The versions of those of these rows that exist."""
        return {
            pk: version
            for chunk in _chunks(ids)
            for pk, version in self.rows().filter(pk__in=chunk).order_by().values_list("pk", "version")
        }

    def _fitting(self, ids: Sequence[UUID]) -> int:
        """How many of these rows, from the first on, are read together."""
        return len(ids) if len(ids) <= FEW else fitting(self._sizes(ids[:CHUNK]))

    def _sizes(self, ids: Sequence[UUID]) -> Iterator[int]:
        """Of a few rows first, then of as many as fit if all are as large: a size costs as much as reading the row."""
        most = FEW
        while ids:
            some, ids = ids[:most], ids[most:]
            found = dict(self.rows().filter(pk__in=some).order_by().values_list("pk", self.row_characters))
            yield from (found.get(pk, 0) for pk in some)
            alike = MAX_PAGE_CHARACTERS * len(some) // max(sum(found.values()), 1)
            most = min(max(alike - len(some), 1), 8 * most)


def _state(row: dict[str, Any]) -> State:
    characters = REST + sum(len(value) for value in row.values() if isinstance(value, str))
    return State(row["id"], row.pop("user_id"), row.pop("version"), row, characters=characters)


def _chunks(ids: "Collection[Key]") -> "Iterator[list[Key]]":
    every = list(ids)
    return (every[start : start + CHUNK] for start in range(0, len(every), CHUNK))


def new_version() -> int:
    """The version of a new row: microseconds since 1970, so that the versions of different rows can be compared."""
    return time.time_ns() // 1000


_tables: dict[str, Table] = {}


def register(table: Table) -> Table:
    """Make the table known to the feed."""
    _tables[table.name] = table
    return table


def table_named(name: str) -> Table:
    return _tables[name]


def table_names() -> list[str]:
    return list(_tables)
