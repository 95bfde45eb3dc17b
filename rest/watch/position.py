"""What a client has been told: a number that it sends back as Last-Event-ID or ?after= when it comes again."""

from typing import Protocol
from uuid import UUID

from rest.watch.table import State

REMEMBERED = 60_000_000
"""Microseconds for which the versions of single rows are remembered."""
UNCOMMITTED = 1_000_000
"""A new client is told of changes since so many microseconds ago: some were not yet committed when it came."""


class Position(Protocol):
    """Decides what is news to a client, and remembers what it was told.

    since: changes up to this version are no news. known: the version up to which it has been told of all changes.
    resumes: True if the client was here before, so that the changes since then are read from the database.
    """

    since: int
    resumes: bool

    @property
    def known(self) -> int: ...

    def is_news(self, state: State) -> bool: ...

    def tell(self, state: State) -> int:
        """Note that the client is told this state; returns the event's id."""


class RowPosition:
    """Of a client that watches one row: the row's version."""

    __slots__ = ("since",)
    resumes = False

    def __init__(self, since: int = 0) -> None:
        self.since = since

    @property
    def known(self) -> int:
        return self.since

    def is_news(self, state: State) -> bool:
        """A lower version is news, too: a failover may have lost the one that was told."""
        return state.version != self.since

    def tell(self, state: State) -> int:
        self.since = state.version
        return state.version


class OwnerPosition:
    """Of a client that watches all rows of an owner: the version up to which it was told of all changes.

    Later changes, told because a transaction has been open for too long (HOLD_BACK), are remembered by row.
    """

    __slots__ = ("_number", "_told", "resumes", "since")

    def __init__(self, since: int, *, resumes: bool) -> None:
        self.since = since if resumes else since - UNCOMMITTED
        self.resumes = resumes
        self._number = since if resumes else 0
        self._told: dict[UUID, int] = {}

    @property
    def known(self) -> int:
        return max(self.since, self._number)

    def is_news(self, state: State) -> bool:
        return state.version > self._told.get(state.id, self.since)

    def tell(self, state: State) -> int:
        self._told[state.id] = state.version
        self._number = max(self._number, min(state.version, state.settled))
        if self._number - REMEMBERED > self.since + REMEMBERED:
            self._forget()
        return self._number

    def _forget(self) -> None:
        self.since = self._number - REMEMBERED
        self._told = {row: version for row, version in self._told.items() if version > self.since}
