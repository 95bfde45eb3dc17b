"""A worker process for kinds that run in threads: what it starts, and that each result is written in time."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping
from functools import partial

import pytest
from structlog.testing import capture_logs

from demo.eventually import eventually
from jobs.models import Job
from jobs.models.states import Status
from jobs.run import Run
from jobs.worker import io_worker
from jobs.worker.attempts import buffer as buffer_module
from jobs.worker.io_worker import IoWorker
from jobs.worker.prefetch import ThreadPrefetch
from tests.support.factories import make_job, make_kind, row
from tests.support.standalone_worker import Broker, make_io_worker, run_to_the_end, stop
from tests.support.timeouts import PATIENCE

pytest_plugins = ["tests.support.worker_fixtures"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("contained_signals")]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """What the jobs of the kind test.kind wait for."""
    gate = threading.Event()
    make_kind(monkeypatch, lambda run: gate.wait(PATIENCE), threads=2)
    return gate


@pytest.fixture
def make_worker(monkeypatch: pytest.MonkeyPatch) -> partial[IoWorker]:
    return partial(make_io_worker, monkeypatch)


def make_waiting_job() -> Job:
    return make_job(kind="test.kind", params={})


def open_and_see_it_end(gate: threading.Event, worker: IoWorker) -> None:
    gate.set()
    eventually(lambda: not worker.pools.busy, PATIENCE, "the end of the job")


@pytest.mark.parametrize("ends", ["returns", "raises", "is cancelled", "takes too long"])
def test_a_job_in_a_thread_ends_as_one_in_the_main_thread(
    monkeypatch: pytest.MonkeyPatch, make_worker: partial[IoWorker], ends: str
) -> None:
    def handler(run: Run) -> str:
        if ends == "raises":
            raise ValueError("x")
        if ends == "is cancelled":
            Job.objects.get().cancel()
        until = time.monotonic() + (0 if ends == "returns" else 30)
        while time.monotonic() < until:
            time.sleep(0.005)
        return "kept"

    make_kind(monkeypatch, handler, threads=2)
    job = make_job(kind="test.kind", params={}, timeout=1 if ends == "takes too long" else 60)
    run_to_the_end(make_worker(Broker(stop)))
    expected = {"returns": Status.SUCCEEDED, "is cancelled": Status.CANCELLED}
    assert row(job)["status"] == expected.get(ends, Status.RETRYING)


def test_as_many_jobs_of_a_kind_run_at_once_as_it_has_threads(
    gate: threading.Event, make_worker: partial[IoWorker]
) -> None:
    jobs = [make_waiting_job() for _ in range(3)]
    worker = make_worker(Broker())
    worker.turn()
    worker.turn()
    assert [row(job)["status"] for job in jobs] == [Status.RUNNING, Status.RUNNING, Status.QUEUED]
    open_and_see_it_end(gate, worker)
    worker.turn()
    eventually(lambda: not worker.pools.busy, PATIENCE)
    worker.turn()
    assert [row(job)["status"] for job in jobs] == [Status.SUCCEEDED] * 3


def test_nothing_is_claimed_while_all_threads_are_busy(gate: threading.Event, make_worker: partial[IoWorker]) -> None:
    asked: list[Mapping[str, int]] = []

    class Asked(Broker):
        def claim_for_pools(self, worker: str, free: Mapping[str, int]) -> list[Job]:
            asked.append(free)
            return super().claim_for_pools(worker, {"test.kind": free.get("test.kind", 0)})

    for _ in range(3):
        make_waiting_job()
    worker = make_worker(Asked(pytest.fail))
    worker.turn()
    worker.turn()
    assert [free.get("test.kind") for free in asked] == [2, None]
    open_and_see_it_end(gate, worker)


def test_results_wait_for_others_while_there_are_jobs_to_start(
    monkeypatch: pytest.MonkeyPatch, make_worker: partial[IoWorker]
) -> None:
    monkeypatch.setattr(buffer_module, "MAX_WRITE_DELAY", PATIENCE)
    make_kind(monkeypatch, lambda run: None, threads=1)
    first, second = make_waiting_job(), make_waiting_job()
    worker, seen = make_worker(Broker()), []
    for _ in range(3):
        worker.turn()
        eventually(lambda: not worker.pools.busy, PATIENCE, "the end of the job")
        seen.append([row(job)["status"] for job in (first, second)])
    assert seen == [[Status.RUNNING, Status.QUEUED], [Status.RUNNING] * 2, [Status.SUCCEEDED] * 2]


@pytest.fixture
def _two_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ThreadPrefetch, "limit", lambda self, kind: 2)


@pytest.mark.usefixtures("_two_ahead")
def test_jobs_that_are_claimed_ahead_run_when_a_thread_is_free(
    gate: threading.Event, make_worker: partial[IoWorker]
) -> None:
    jobs, worker = [make_waiting_job() for _ in range(5)], make_worker(Broker())
    worker.turn()
    assert [row(job)["status"] for job in jobs] == [Status.RUNNING] * 4 + [Status.QUEUED]
    assert sorted(job.pk for job in worker.waiting_jobs()) == sorted(job.pk for job in jobs[2:4])
    open_and_see_it_end(gate, worker)
    worker.attempts.record(worker.buffer.write_results)
    assert [row(job)["status"] for job in jobs] == [Status.SUCCEEDED] * 4 + [Status.QUEUED]


@pytest.mark.usefixtures("_two_ahead")
def test_jobs_for_which_no_thread_is_free_in_time_are_handed_back(
    gate: threading.Event, make_worker: partial[IoWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, worker = [make_waiting_job() for _ in range(4)], make_worker(Broker())
    worker.turn()
    monkeypatch.setattr(ThreadPrefetch, "limit", lambda self, kind: 0)
    worker.turn()
    assert len(worker.waiting_jobs()) == 2
    monkeypatch.setattr(io_worker, "LATE_AFTER", 0)
    worker.turn()
    assert not worker.waiting_jobs()
    assert [row(job)["attempt"] for job in jobs] == [1, 1, 0, 0]
    assert [row(job)["status"] for job in jobs[2:]] == [Status.QUEUED] * 2
    open_and_see_it_end(gate, worker)


@pytest.mark.usefixtures("_two_ahead")
def test_jobs_that_wait_are_handed_back_when_their_worker_stops(
    gate: threading.Event, make_worker: partial[IoWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, worker = [make_waiting_job() for _ in range(4)], make_worker(Broker())
    worker.turn()
    wait = worker.pools.wait

    def open_and_wait(seconds: float) -> bool:
        gate.set()
        return wait(seconds)

    monkeypatch.setattr(worker.pools, "wait", open_and_wait)
    worker.drain()
    assert [row(job)["status"] for job in jobs] == [Status.SUCCEEDED] * 2 + [Status.QUEUED] * 2


@pytest.mark.usefixtures("_two_ahead")
def test_what_is_prepared_is_not_handed_back(make_worker: partial[IoWorker], monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()
    make_kind(monkeypatch, lambda run: gate.wait(PATIENCE), threads=1, prepare=lambda arguments: arguments)
    monkeypatch.setattr(io_worker, "LATE_AFTER", 0)
    jobs, worker = [make_waiting_job() for _ in range(2)], make_worker(Broker())
    worker.turn()
    worker.turn()
    assert [row(job)["attempt"] for job in jobs] == [1, 1]
    open_and_see_it_end(gate, worker)


@pytest.mark.usefixtures("_two_ahead")
def test_a_job_that_has_waited_long_starts_only_if_its_lease_still_holds(
    make_worker: partial[IoWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, begun = threading.Event(), []

    def handler(run: Run) -> None:
        begun.append(run.job_id)
        gate.wait(PATIENCE)

    make_kind(monkeypatch, handler, threads=1)
    running, lost, held = [make_waiting_job() for _ in range(3)]
    worker = make_worker(Broker())
    worker.turn()
    monkeypatch.setattr(io_worker, "START_WITHIN", 0)
    Job.objects.filter(pk=lost.pk).update(attempt=2)
    with capture_logs() as lines:
        open_and_see_it_end(gate, worker)
    assert begun == [running.pk, held.pk]
    assert [line["job_id"] for line in lines if line["event"] == "job_lease_lost"] == [str(lost.pk)]


def test_jobs_are_handed_back_if_the_process_stood_still_after_its_claim(
    gate: threading.Event, make_worker: partial[IoWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(io_worker, "START_WITHIN", 0)
    job, worker = make_waiting_job(), make_worker(Broker())
    worker.turn()
    assert not worker.pools.busy
    assert (row(job)["status"], row(job)["attempt"]) == (Status.QUEUED, 0)


def test_a_job_of_the_main_thread_is_left_to_other_workers(
    gate: threading.Event, make_worker: partial[IoWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_kind(monkeypatch, lambda run: pytest.fail("it must not run"), name="test.long")
    job, idle = make_job(kind="test.long", params={}), []
    make_worker(Broker(lambda: idle.append(True))).turn()
    assert (row(job)["status"], idle) == (Status.QUEUED, [True])


def test_the_result_that_comes_last_is_written_before_its_worker_ends(
    gate: threading.Event, make_worker: partial[IoWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopping(Broker):
        def claim_for_pools(self, worker: str, free: Mapping[str, int]) -> list[Job]:
            stop()
            return super().claim_for_pools(worker, free)

    job, worker = make_waiting_job(), make_worker(Stopping(pytest.fail))
    write = worker.buffer.write_results

    def write_too_early() -> None:
        write()
        if worker.stopping and worker.pools.busy:
            open_and_see_it_end(gate, worker)

    monkeypatch.setattr(worker.buffer, "write_results", write_too_early)
    run_to_the_end(worker)
    assert row(job)["status"] == Status.SUCCEEDED


def test_a_result_that_comes_just_before_the_worker_waits_is_written_before_that(
    gate: threading.Event, make_worker: partial[IoWorker], monkeypatch: pytest.MonkeyPatch
) -> None:
    job, seen = make_waiting_job(), []
    worker = make_worker(Broker(lambda: seen.append(row(job)["status"])))
    worker.turn()
    write = worker.buffer.write_results

    def write_too_early() -> None:
        write()
        open_and_see_it_end(gate, worker)

    monkeypatch.setattr(worker.buffer, "write_results", write_too_early)
    worker.turn()
    assert seen == [Status.SUCCEEDED]


def test_a_worker_that_is_asked_to_stop_ends_what_runs_in_its_threads_and_takes_nothing_more(
    gate: threading.Event, make_worker: partial[IoWorker]
) -> None:
    class Stopping(Broker):
        def claim_for_pools(self, worker: str, free: Mapping[str, int]) -> list[Job]:
            claimed = super().claim_for_pools(worker, {"test.kind": 1})
            stop()
            opener.start()
            return claimed

    opener = threading.Timer(0.1, gate.set)
    first, second = make_waiting_job(), make_waiting_job()
    run_to_the_end(make_worker(Stopping(pytest.fail)))
    opener.join()
    assert (row(first)["status"], row(second)["status"]) == (Status.SUCCEEDED, Status.QUEUED)


def test_a_worker_that_must_stop_now_hands_back_what_runs_in_its_threads(
    monkeypatch: pytest.MonkeyPatch, make_worker: partial[IoWorker]
) -> None:
    def handler(run: Run) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        while True:
            time.sleep(0.005)

    make_kind(monkeypatch, handler, threads=2)
    jobs = [make_waiting_job() for _ in range(2)]
    run_to_the_end(make_worker(Broker(pytest.fail)))
    assert [(row(job)["status"], row(job)["attempt"], row(job)["errors"]) for job in jobs] == [
        (Status.QUEUED, 0, [])
    ] * 2


def test_a_thread_that_ignores_that_its_worker_must_stop_is_interrupted_again(
    monkeypatch: pytest.MonkeyPatch, make_worker: partial[IoWorker]
) -> None:
    swallowed: list[bool] = []

    def handler(run: Run) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        for _ in range(2):
            with contextlib.suppress(BaseException):
                while True:
                    time.sleep(0.005)
            swallowed.append(True)
        while True:
            time.sleep(0.005)

    make_kind(monkeypatch, handler, threads=2)
    job = make_waiting_job()
    run_to_the_end(make_worker(Broker(pytest.fail)))
    assert (row(job)["status"], len(swallowed)) == (Status.QUEUED, 2)
