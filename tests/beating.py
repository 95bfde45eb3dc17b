"""A heartbeat that beats quickly, and stand-ins for what it deals with: jobs, threads, its place and the time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from jobs.worker import heartbeat as heartbeat_module
from jobs.worker.heartbeat import Heartbeat
from jobs.worker.interrupt import Interrupted, MainThread, OtherThread
from tests.make import disconnect

SOON = 30
"""Seconds: what has not happened by then never will."""


class Main(MainThread):
    """Remembers why it would have been interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: list[Interrupted] = []

    def interrupt(self, reason: Interrupted) -> None:
        self.reasons.append(reason)


class Place:
    """A worker's place, as its guard sees it."""

    name, predecessor = "here:1", ""

    def __init__(self) -> None:
        self.deadlines: list[float] = []
        self.condemned = False

    def expect_done_within(self, seconds: float) -> None:
        self.deadlines.append(seconds)

    def expect_idle(self) -> None:
        raise NotImplementedError

    def condemn(self) -> None:
        self.condemned = True


@contextmanager
def beating(monkeypatch: pytest.MonkeyPatch, hand: Hand, place: Place) -> Iterator[Heartbeat]:
    monkeypatch.setattr(heartbeat_module, "BEAT", 0.02)
    monkeypatch.setattr(heartbeat_module, "LOOK", 0.005)
    heartbeat = Heartbeat(hand, place)
    heartbeat.start()
    yield heartbeat
    assert heartbeat.is_alive(), "the heartbeat has stopped for good"
    disconnect(heartbeat)


def make_held(beat: Callable[[Any], None] = lambda job: None) -> Any:
    """A job whose renewals are counted; beat: what else a renewal does."""
    job = SimpleNamespace(pk="1", attempt=1, cancel_requested=False, beats=0)

    def renew_lease() -> None:
        job.beats += 1
        beat(job)

    job.renew_lease = renew_lease
    return job


class Clock:
    """What the heartbeat takes for the module time: it stands still unless a test moves it."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


class Ticking(OtherThread):
    """Counts how often it was looked at, and remembers why it would have been interrupted."""

    def __init__(self, overdue: bool = False) -> None:
        super().__init__()
        self.overdue, self.rung = overdue, 0
        self.reasons: list[Interrupted] = []

    def ring(self) -> bool:
        self.rung += 1
        return self.overdue

    def interrupt(self, reason: Interrupted) -> None:
        self.reasons.append(reason)
