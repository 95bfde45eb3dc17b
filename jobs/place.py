"""What a worker process promises its guard: when it should be done with what it does."""

from typing import Protocol

STUCK_AFTER = 3.0
"""Seconds from the interruption of a handler to the killing of one that ignores it, because it is in C code."""


class Place(Protocol):
    """A process's place in its cluster; jobs.child.Child is the real one. predecessor: who died here before."""

    name: str
    predecessor: str

    def expect_done_within(self, seconds: float) -> None: ...
    def expect_idle(self) -> None: ...
    def condemn(self) -> None: ...
