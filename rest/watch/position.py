"""What a client has been told: a number that it sends back as Last-Event-ID or ?after= when it comes again."""

from typing import Protocol
from uuid import UUID

from rest.watch.table import State

REMEMBERED = 60_000_000
"""Microseconds for which the versions of single rows are remembered."""
UNCOMMITTED = 1_000_000
"""Microseconds: a change whose transaction may still be open has a version that is so much older."""


class Position(Protocol):
    """Decides what is news to a client, and remembers what it was told.

    since: versions up to it are known. resumes: whether the rows of an owner that have changed since then are to be
    looked for, because the client was here before.
    """

    since: int
    resumes: bool

    def is_news(self, state: State) -> bool: ...

    def tell(self, state: State) -> int:
        """Note that the client is told this state; returns the event's id."""


class RowPosition:
    """Of a client that watches one row: the row's version."""

    __slots__ = ("since",)
    resumes = False

    def __init__(self, since: int = 0) -> None:
        self.since = since

    def is_news(self, state: State) -> bool:
        """A lower version is news, too: a failover may have lost the one that was told."""
        return state.version != self.since

    def tell(self, state: State) -> int:
        self.since = state.version
        return state.version


class OwnerPosition:
    """Of a client that watches all rows of an owner: the newest version that it was told, of whichever row.

    Changes are not committed in the order of their versions, so each row's version is remembered for a while.
    """

    __slots__ = ("_newest", "_told", "resumes", "since")

    def __init__(self, since: int, *, resumes: bool) -> None:
        self.since = since if resumes else since - UNCOMMITTED
        self.resumes = resumes
        self._newest = since
        self._told: dict[UUID, int] = {}

    def is_news(self, state: State) -> bool:
        return state.version > self._told.get(state.id, self.since)

    def tell(self, state: State) -> int:
        self._told[state.id] = state.version
        if state.version > self._newest:
            self._newest = state.version
            self._forget()
        return self._newest

    def _forget(self) -> None:
        if self._newest - REMEMBERED > self.since + REMEMBERED:
            self.since = self._newest - REMEMBERED
            self._told = {row: version for row, version in self._told.items() if version > self.since}
