"""A worker without a cluster, in the tests' own process: stand-ins for its place and its broker, and how to run it."""

import contextlib
import os
import signal
from collections.abc import Callable, Collection, Iterator
from typing import Any

import pytest
from django.db import connection

from jobs import heartbeat, interrupt
from jobs import worker as worker_module
from jobs.models import Job
from jobs.queue import MayFollow
from jobs.worker import Worker
from tests.make import WORKER, disconnect, make_job, row

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)
MANY = 50


class Place:
    """A worker's place, as its guard sees it."""

    def __init__(self, predecessor: str = "") -> None:
        self.name, self.predecessor = WORKER, predecessor
        self.expected: list[float | str] = []

    def expect_done_within(self, seconds: float) -> None:
        self.expected.append(seconds)

    def expect_idle(self) -> None:
        self.expected.append("idle")

    def condemn(self) -> None:
        self.expected.append("condemned")


class Broker:
    """Gives out what the queue has, and then what django-q has; `on_idle` is called when there is neither."""

    def __init__(self, on_idle: Callable[[], object] = lambda: None) -> None:
        self.on_idle = on_idle
        self.packages: list[tuple[Any, str]] = []

    def claim(self, worker: str, limit: int, may_follow: MayFollow, without: Collection[str]) -> list[Job]:
        Job.objects.queue_what_is_due()
        return list(Job.objects.claim(worker, limit=limit, may_follow=may_follow, without=without))

    def dequeue(self) -> list[tuple[Any, str]] | None:
        return [self.packages.pop(0)] if self.packages else None

    def wait(self) -> None:
        self.on_idle()


@contextlib.contextmanager
def contained(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker takes the signals of its process; afterwards they are what they were. Meanwhile nothing takes long."""
    monkeypatch.setattr(interrupt, "AGAIN", 0.02)
    monkeypatch.setattr(heartbeat, "BEAT", 0.05)
    monkeypatch.setattr(heartbeat, "LOOK", 0.02)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


def make_worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    """One that waits no time at all for a database, and not for ever."""
    made = Worker(Place(), Broker())
    limit_waits(monkeypatch, made)
    return made


def run(worker: Worker, **fields: Any) -> dict[str, Any]:
    """One turn with a job of the kind test.kind; the row afterwards."""
    job = make_job(kind="test.kind", **{"params": {}} | fields)
    worker.turn()
    return row(job)


def limit_waits(monkeypatch: pytest.MonkeyPatch, worker: Worker) -> None:
    """Outages last no time here; a worker that sees no end of one fails its test instead of hanging."""
    monkeypatch.setattr(worker_module, "OUTAGE_PAUSE", 0)
    wait, waits = worker._wait_for_the_database, iter(range(MANY))

    def wait_again() -> None:
        if next(waits, None) is None:
            raise AssertionError("the worker goes on for ever")
        wait()

    monkeypatch.setattr(worker, "_wait_for_the_database", wait_again)


def run_to_the_end(worker: Worker) -> None:
    try:
        worker.run()
    finally:
        disconnect(worker.heartbeat)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def database_away(times: int, error: Exception) -> Iterator[None]:
    """The next so many UPDATEs fail."""

    def refuse(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        nonlocal times
        if sql.lstrip().startswith("UPDATE") and times > 0:
            times -= 1
            raise error
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        yield
