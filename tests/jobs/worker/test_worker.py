"""A worker from its start to its stop: outages, broken connections, predecessors, and signals."""

import contextlib
import os
import signal
import time
from typing import Any

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connection, transaction

from jobs.errors import PermanentError
from jobs.models import Job
from jobs.models.states import Status
from jobs.run import Run
from jobs.worker.watchdog import Predecessor
from jobs.worker.worker import Worker
from tests.support.factories import make_job, make_kind, row
from tests.support.standalone_worker import (
    Broker,
    database_away,
    make_worker,
    run,
    run_to_the_end,
    stop,
    time_kept,
)

pytest_plugins = ["tests.support.worker_fixtures"]
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("contained_signals")]


@pytest.mark.parametrize("error", [OperationalError("away"), InterfaceError("closed"), DatabaseError("odd")])
@pytest.mark.parametrize(
    ("outcome", "status"), [("returns", Status.SUCCEEDED), ("raises", Status.RETRYING), ("stops", Status.QUEUED)]
)
def test_an_outcome_is_written_however_often_the_database_is_away(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, error: Exception, outcome: str, status: str
) -> None:
    def handler(run: Run) -> str:
        outage.enter_context(database_away(times=3, error=error))
        if outcome == "raises":
            raise ValueError("x")
        if outcome == "stops":
            worker.main_thread.stop()
            time.sleep(30)
        return "kept"

    make_kind(monkeypatch, handler)
    job = make_job(kind="test.kind", params={})
    with contextlib.ExitStack() as outage, time_kept(worker):
        worker.turn()
    assert row(job)["status"] == status
    assert row(job)["result"] == ("kept" if outcome == "returns" else None)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no connection that could break.")
@pytest.mark.parametrize("inside", ["a transaction", "none"])
def test_a_handler_whose_connection_breaks_has_its_outcome_written_over_a_new_one(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, inside: str
) -> None:
    def handler(run: Run) -> str:
        with contextlib.suppress(OperationalError, InterfaceError):
            block = transaction.atomic() if inside == "a transaction" else contextlib.nullcontext()
            with block, connection.cursor() as cursor:
                cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return "kept"

    make_kind(monkeypatch, handler)
    assert run(worker)["result"] == "kept"
    assert Job.objects.count() == 1


@pytest.mark.parametrize("ends", ["returns", "raises"])
def test_a_handler_that_leaves_a_transaction_open_has_its_outcome_recorded_and_the_worker_goes_on(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """An interruption just after an atomic block's first statement, or before its last, leaves one open as well."""
    atomic = transaction.atomic()

    def handler(run: Run) -> None:
        if run.attempt == 1 and not connection.in_atomic_block:
            atomic.__enter__()
        if ends == "raises":
            raise PermanentError("x")

    make_kind(monkeypatch, handler)
    first, second = [make_job(kind="test.kind", params={}, priority=priority) for priority in (1, 0)]
    try:
        for _ in range(2):
            with contextlib.suppress(OperationalError, InterfaceError):
                close_old_connections()
                worker.turn()
        assert not connection.in_atomic_block
        assert row(first)["finished_at"]
        assert row(second)["finished_at"]
    finally:
        if connection.in_atomic_block:
            atomic.__exit__(None, None, None)


def test_a_worker_takes_over_what_its_predecessor_was_running(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = make_job(Status.RUNNING, worker="here:0")
    others = make_job(Status.RUNNING, worker="here:9")
    worker = make_worker(monkeypatch, Broker(stop), Predecessor("here:0", lost=frozenset({lost.pk})))
    run_to_the_end(worker)
    assert row(lost)["errors"][0]["type"] == "WorkerLost"
    assert row(others)["status"] == Status.RUNNING
    assert worker.handle.predecessor is None


def test_a_job_that_died_with_its_worker_runs_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: run.attempt)
    lost = make_job(Status.RUNNING, worker="here:0", kind="test.kind", params={})
    run_to_the_end(make_worker(monkeypatch, Broker(stop), Predecessor("here:0", lost=frozenset({lost.pk}))))
    assert (row(lost)["status"], row(lost)["result"]) == (Status.SUCCEEDED, 2)


def test_a_worker_finishes_what_it_runs_when_it_is_asked_to_stop_and_takes_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_kind(monkeypatch, lambda run: signal.raise_signal(signal.SIGTERM))
    first, second = [make_job(kind="test.kind", params={}, priority=priority) for priority in (1, 0)]
    run_to_the_end(make_worker(monkeypatch, Broker(pytest.fail)))
    assert (row(first)["status"], row(second)["status"]) == (Status.SUCCEEDED, Status.QUEUED)


def test_a_worker_that_must_stop_now_hands_its_job_back_and_takes_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def handler(run: Run) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(30)

    make_kind(monkeypatch, handler)
    first, second = [make_job(kind="test.kind", params={}, priority=priority) for priority in (1, 0)]
    run_to_the_end(make_worker(monkeypatch, Broker(pytest.fail)))
    assert (row(first)["status"], row(first)["attempt"], row(first)["errors"]) == (Status.QUEUED, 0, [])
    assert row(second)["attempt"] == 0


def test_a_worker_that_must_stop_before_its_job_began_hands_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(Broker):
        def claim(self, *args: Any) -> list[Job]:
            claimed = super().claim(*args)
            signal.raise_signal(signal.SIGUSR1)
            return claimed

    make_kind(monkeypatch, lambda run: pytest.fail("it must not run"))
    job = make_job(kind="test.kind", params={})
    run_to_the_end(make_worker(monkeypatch, Late()))
    assert (row(job)["status"], row(job)["attempt"], row(job)["errors"]) == (Status.QUEUED, 0, [])


@pytest.mark.parametrize("error", [OperationalError("away"), InterfaceError("closed"), ConnectionError("no broker")])
def test_a_worker_waits_for_a_database_or_broker_that_is_away(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    class Flaky(Broker):
        failures = 3

        def claim(self, *args: Any) -> list[Job]:
            self.failures -= 1
            if self.failures >= 0:
                raise error
            return super().claim(*args)

    make_kind(monkeypatch, lambda run: "done")
    job = make_job(kind="test.kind", params={})
    run_to_the_end(make_worker(monkeypatch, Flaky(stop)))
    assert row(job)["result"] == "done"


def test_a_running_job_that_is_cancelled_is_stopped_by_the_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(run: Run) -> None:
        Job.objects.get().cancel()
        time.sleep(30)

    make_kind(monkeypatch, handler)
    job = make_job(kind="test.kind", params={})
    run_to_the_end(make_worker(monkeypatch, Broker(stop)))
    assert row(job)["status"] == Status.CANCELLED
