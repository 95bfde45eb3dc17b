"""Jobs of I/O-bound kinds beside the main thread: whatever that does, they end as soon as they are done."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from demo.eventually import eventually
from jobs.models import Job
from jobs.states import Status
from jobs.worker.worker import Worker
from tests.lone_worker import Broker, Place, contained, run_to_the_end, stop
from tests.make import make_job, make_kind, row
from tests.patience import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _contained(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with contained(monkeypatch):
        yield


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """What the jobs of the kind test.kind wait for."""
    gate = threading.Event()
    make_kind(monkeypatch, lambda run: gate.wait(PATIENCE), threads=2)
    return gate


def make_waiting_job() -> Job:
    return make_job(kind="test.kind", params={})


def open_and_see_it_end(gate: threading.Event, worker: Worker) -> None:
    gate.set()
    eventually(lambda: not worker.threads.busy, PATIENCE, "the end of the job")


def test_the_result_that_comes_last_is_written_before_its_worker_ends(gate: threading.Event) -> None:
    class Stopping(Broker):
        def dequeue(self) -> list[tuple[Any, str]] | None:
            stop()
            return None

    job, worker = make_waiting_job(), Worker(Place(), Stopping(pytest.fail))
    put_down = worker.hand.put_down

    def put_down_too_early() -> None:
        put_down()
        if worker.stopping and not gate.is_set():
            open_and_see_it_end(gate, worker)

    worker.hand.put_down = put_down_too_early  # type: ignore[method-assign]
    run_to_the_end(worker)
    assert row(job)["status"] == Status.SUCCEEDED


def test_a_result_that_comes_while_the_worker_looks_for_plain_tasks_is_written_before_it_waits(
    gate: threading.Event,
) -> None:
    class Slow(Broker):
        def dequeue(self) -> list[tuple[Any, str]] | None:
            open_and_see_it_end(gate, worker)
            return None

    job, seen = make_waiting_job(), []
    worker = Worker(Place(), Slow(lambda: seen.append(row(job)["status"])))
    worker.turn()
    worker.turn()
    assert seen == [Status.SUCCEEDED]
