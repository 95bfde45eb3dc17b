"""Bounds the changes that watchers have not taken and the events that clients have not read, of a whole process."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rest.watch.table import State

MOST = 64 * 1024 * 1024
"""Characters. Beyond it the streams whose clients have gone without reading for longest are dropped."""


class Sender(Protocol):
    def close(self) -> None:
        """Gives up what it has not taken."""


class Backlog:
    """Used on the event loop only."""

    def __init__(self) -> None:
        self.characters = 0
        self._sending: dict[Sender, tuple[asyncio.Timeout, int]] = {}
        """The deadline and size of each write under way, oldest first."""

    def add(self, state: State) -> None:
        """One more watcher has yet to take this state. Its size counts once, however many have."""
        state.waiting += 1
        if state.waiting == 1:
            self._grow(state.characters)

    def remove(self, state: State) -> None:
        state.waiting -= 1
        if not state.waiting:
            self.characters -= state.characters

    @contextmanager
    def sending(self, sender: Sender, size: int, deadline: asyncio.Timeout) -> Iterator[None]:
        """A block in which the sender writes. If it is dropped to make room, the deadline is moved to now."""
        self._sending[sender] = deadline, size
        self._grow(size)
        try:
            yield
        finally:
            self._end(sender)

    def _grow(self, characters: int) -> None:
        self.characters += characters
        while self.characters > MOST and self._sending:
            slowest = next(iter(self._sending))
            deadline = self._end(slowest)
            slowest.close()
            if deadline and not deadline.expired():
                deadline.reschedule(asyncio.get_running_loop().time())

    def _end(self, sender: Sender) -> asyncio.Timeout | None:
        deadline, size = self._sending.pop(sender, (None, 0))
        self.characters -= size
        return deadline
