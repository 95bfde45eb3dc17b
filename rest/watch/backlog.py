"""What the watchers of a process have not taken yet, and the clients of its streams have not read: bounded together."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rest.watch.table import State

MOST = 64 * 1024 * 1024
"""Characters. Beyond it streams are dropped whose clients have not read for the longest time."""


class Sender(Protocol):
    def close(self) -> None:
        """Gives up what it has not taken."""


class Backlog:
    """Used on the event loop only."""

    def __init__(self) -> None:
        self.characters = 0
        self._sending: dict[Sender, tuple[asyncio.Timeout, int]] = {}
        """Until when, and how much; who began first comes first."""

    def add(self, state: State) -> None:
        """One more watcher has this state. It counts once, however many have it."""
        state.waiting += 1
        if state.waiting == 1:
            self._grow(state.characters)

    def remove(self, state: State) -> None:
        state.waiting -= 1
        if not state.waiting:
            self.characters -= state.characters

    @contextmanager
    def sending(self, sender: Sender, size: int, deadline: asyncio.Timeout) -> Iterator[None]:
        """The deadline may be moved to now, until the end of the block."""
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
