"""What a kind does for many of its jobs at once, by an I/O worker in this process."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError
from rest_framework import serializers

from demo.eventually import eventually
from jobs.models import Job
from jobs.models.states import Status
from jobs.run import Run
from jobs.worker.attempts.buffer import WorkBuffer
from jobs.worker.io_worker import IoWorker
from jobs.worker.thread_pools import ThreadPools
from rest.requests.strict import StrictSerializer
from tests.support.factories import make_job, make_kind, row
from tests.support.standalone_worker import Broker, make_io_worker
from tests.support.timeouts import PATIENCE

pytest_plugins = ["tests.support.worker_fixtures"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("contained_signals")]


class Params(StrictSerializer):
    number = serializers.IntegerField()


@pytest.fixture
def gate() -> threading.Event:
    """What all handlers wait for."""
    return threading.Event()


@pytest.fixture
def make_numbers(monkeypatch: pytest.MonkeyPatch, gate: threading.Event) -> Callable[..., list[Job]]:
    """Jobs 1 and 2 of a kind with these options, whose handler returns a set with ten times its number."""

    def handler(run: Run, *, number: int) -> set[int]:
        gate.wait(PATIENCE)
        return {10 * number}

    def make(**options: Any) -> list[Job]:
        usual: dict[str, Any] = {"params": Params, "threads": 2, "conclude": lambda sets: [sum(each) for each in sets]}
        make_kind(monkeypatch, handler, **usual | options)
        return [make_job(kind="test.kind", params={"number": number}) for number in (1, 2)]

    return make


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, gate: threading.Event) -> Callable[[], IoWorker]:
    """Let a worker start and end all that is due."""

    def run() -> IoWorker:
        worker = make_io_worker(monkeypatch, Broker())
        worker.turn()
        gate.set()
        eventually(lambda: not worker.pools.busy, PATIENCE, "the end of the jobs")
        worker.attempts.record(worker.buffer.write_results)
        return worker

    return run


def outcomes(jobs: list[Job]) -> list[tuple[str, object]]:
    return [(row(job)["status"], row(job)["result"]) for job in jobs]


def test_handlers_are_called_with_what_was_prepared_for_all_of_them(
    make_numbers: Callable[..., list[Job]], work: Callable[[], IoWorker]
) -> None:
    asked: list[Any] = []

    def prepare(arguments: list[dict[str, Any]]) -> list[dict[str, Any]]:
        asked.append((threading.current_thread(), sorted(each["number"] for each in arguments)))
        return [{"number": each["number"] + 5} for each in arguments]

    jobs = make_numbers(prepare=prepare)
    work()
    assert asked == [(threading.main_thread(), [1, 2])]
    assert outcomes(jobs) == [(Status.SUCCEEDED, 60), (Status.SUCCEEDED, 70)]


def test_jobs_are_not_handed_back_while_they_are_prepared_and_started(
    make_numbers: Callable[..., list[Job]], work: Callable[[], IoWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The heartbeat hands back what is in the buffer beside a long job, and threads may take long to start."""
    buffers: list[WorkBuffer] = []
    monkeypatch.setattr(WorkBuffer, "__init__", noting(buffers, WorkBuffer.__init__))
    start = ThreadPools.start

    def flush() -> None:
        for buffer in buffers:
            buffer.flush()

    def prepare(arguments: list[dict[str, Any]]) -> list[dict[str, Any]]:
        flush()
        return [{"number": each["number"] + 5} for each in arguments]

    def flush_and_start(*args: Any) -> None:
        flush()
        start(*args)

    monkeypatch.setattr(ThreadPools, "start", flush_and_start)
    jobs = make_numbers(prepare=prepare)
    work()
    assert buffers
    assert outcomes(jobs) == [(Status.SUCCEEDED, 60), (Status.SUCCEEDED, 70)]


def noting(made: list[WorkBuffer], make: Callable[..., None]) -> Callable[..., None]:
    def note(self: WorkBuffer, *args: Any) -> None:
        make(self, *args)
        made.append(self)

    return note


@pytest.mark.parametrize("how", ["it raises", "it returns too few"])
def test_jobs_that_could_not_be_prepared_run_with_their_own_arguments(
    make_numbers: Callable[..., list[Job]], work: Callable[[], IoWorker], how: str
) -> None:
    def fail(arguments: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if how == "it raises":
            raise OperationalError("away")
        return [{"number": 5}]

    jobs = make_numbers(prepare=fail)
    work()
    assert outcomes(jobs) == [(Status.SUCCEEDED, 10), (Status.SUCCEEDED, 20)]


def test_what_handlers_returned_is_concluded_together(
    make_numbers: Callable[..., list[Job]], work: Callable[[], IoWorker]
) -> None:
    asked: list[Any] = []

    def conclude(sets: list[set[int]]) -> list[int]:
        asked.append(sorted(sum(each) for each in sets))
        return [sum(each) + 1 for each in sets]

    jobs = make_numbers(conclude=conclude)
    worker = work()
    assert asked == [[10, 20]]
    assert outcomes(jobs) == [(Status.SUCCEEDED, 11), (Status.SUCCEEDED, 21)]
    assert worker.buffer.empty


def test_only_the_job_that_cannot_be_concluded_fails(
    make_numbers: Callable[..., list[Job]], work: Callable[[], IoWorker]
) -> None:
    def conclude(sets: list[set[int]]) -> list[int]:
        if {10} in sets:
            raise ValueError("ten")
        return [sum(each) for each in sets]

    jobs = make_numbers(conclude=conclude)
    work()
    assert outcomes(jobs) == [(Status.RETRYING, None), (Status.SUCCEEDED, 20)]
    assert row(jobs[0])["errors"][-1]["type"] == "ValueError"


def test_a_result_that_is_no_json_fails_its_own_job_alone(
    make_numbers: Callable[..., list[Job]], work: Callable[[], IoWorker]
) -> None:
    jobs = make_numbers(conclude=lambda sets: [each if each == {10} else sum(each) for each in sets])
    work()
    assert [status for status, _ in outcomes(jobs)] == [Status.RETRYING, Status.SUCCEEDED]


def test_while_the_database_is_away_nothing_that_handlers_returned_is_lost(
    make_numbers: Callable[..., list[Job]], work: Callable[[], IoWorker]
) -> None:
    outages = [OperationalError("away"), OperationalError("still away")]

    def conclude(sets: list[set[int]]) -> list[int]:
        if outages:
            raise outages.pop()
        return [sum(each) for each in sets]

    jobs = make_numbers(conclude=conclude)
    work()
    assert outages == []
    assert outcomes(jobs) == [(Status.SUCCEEDED, 10), (Status.SUCCEEDED, 20)]
