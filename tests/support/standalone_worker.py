"""A worker without a cluster, in the tests' own process: stand-ins for its handle and broker, and how to run it."""

import contextlib
import os
import signal
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import pytest
from django.db import close_old_connections, connection

from jobs.models import Job
from jobs.worker import heartbeat, process, timekeeper
from jobs.worker.attempts import attempt, interrupt
from jobs.worker.io_worker import IoWorker
from jobs.worker.process import WorkerProcess
from jobs.worker.thread_pools import total_threads
from jobs.worker.watchdog import Predecessor
from jobs.worker.worker import Worker
from tests.support.claims import claim_for_pools, claim_jobs
from tests.support.factories import WORKER, disconnect, make_job, row
from tests.support.inline_worker import Handle

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)
MANY = 50


class Broker:
    """Gives out due jobs, and then `packages` of plain tasks; `on_idle` is called when there is neither."""

    def __init__(self, on_idle: Callable[[], object] = lambda: None) -> None:
        self.on_idle = on_idle
        self.packages: list[tuple[Any, str]] = []

    def claim(self, worker: str, limit: int, short: Collection[str]) -> list[Job]:
        Job.objects.queue_due()
        return claim_jobs(worker, limit=limit, short=short)

    def claim_for_pools(self, worker: str, free: Mapping[str, int]) -> list[Job]:
        Job.objects.queue_due()
        return claim_for_pools(worker, free)

    def dequeue(self) -> list[tuple[Any, str]] | None:
        return [self.packages.pop(0)] if self.packages else None

    def wait(self) -> None:
        self.on_idle()


@contextlib.contextmanager
def contained(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restores the signal handlers that a worker replaces. In the body, its threads check at short intervals."""
    monkeypatch.setattr(interrupt, "REPEAT_AFTER", 0.02)
    monkeypatch.setattr(heartbeat, "RENEW_EVERY", 0.05)
    monkeypatch.setattr(heartbeat, "CHECK_EVERY", 0.02)
    monkeypatch.setattr(timekeeper, "CHECK_EVERY", 0.02)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def make_worker(
    monkeypatch: pytest.MonkeyPatch, broker: Broker | None = None, predecessor: Predecessor | None = None
) -> Worker:
    """A worker that does not sleep while the database is away, and gives up after many tries."""
    limit_waits(monkeypatch)
    return Worker(Handle(WORKER, predecessor), broker or Broker())


def make_io_worker(monkeypatch: pytest.MonkeyPatch, broker: Broker | None = None) -> IoWorker:
    limit_waits(monkeypatch)
    return IoWorker(Handle(WORKER, slots=total_threads()), broker or Broker())


@contextlib.contextmanager
def time_kept(worker: WorkerProcess) -> Iterator[None]:
    """With the timekeeper of this worker, which enforces timeouts."""
    worker.timekeeper.start()
    try:
        yield
    finally:
        worker.timekeeper.stop()
        worker.timekeeper.join(60)


def run(worker: Worker, **fields: Any) -> dict[str, Any]:
    """One turn with a job of the kind test.kind; returns its row."""
    job = make_job(kind="test.kind", **{"params": {}} | fields)
    worker.turn()
    return row(job)


def limit_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for the database take no time; a worker that waits too often fails its test instead of hanging."""
    waits = iter(range(MANY))

    def wait() -> None:
        if next(waits, None) is None:
            raise AssertionError("the worker goes on for ever")
        close_old_connections()

    for module in (attempt, process):
        monkeypatch.setattr(module, "wait_for_database", wait)


def run_to_the_end(worker: WorkerProcess) -> None:
    try:
        worker.run()
    finally:
        disconnect(worker.heartbeat)


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@contextlib.contextmanager
def database_away(times: int, error: Exception) -> Iterator[None]:
    """The next so many UPDATEs of jobs fail."""

    def refuse(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        nonlocal times
        if "UPDATE jobs_job" in sql.replace('"', "") and times > 0:
            times -= 1
            raise error
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse):
        yield
