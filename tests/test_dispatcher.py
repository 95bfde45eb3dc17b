"""What a dispatcher does, inside the test's own process: one failing or slow step never costs the others anything."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import DatabaseError, OperationalError, close_old_connections, connection
from django_q.brokers import get_broker
from structlog.testing import capture_logs

from jobs import dispatcher as dispatcher_module
from jobs import housekeeping
from jobs.dispatcher import Dispatcher
from jobs.housekeeping import LONGEST_BACKOFF, MaintenanceTask, backoff
from jobs.models import Job
from jobs.states import Status
from tests.make import LONG_AGO, make_job, row
from tests.patience import PATIENCE
from tests.workers import signal_handlers_kept

pytestmark = pytest.mark.django_db(transaction=True)

needs_a_server = pytest.mark.skipif(connection.vendor == "sqlite", reason="A file has no connection that can be cut.")


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    with signal_handlers_kept():
        yield Dispatcher(get_broker())


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[MaintenanceTask]:
    """The maintenance tasks that there are during the test."""
    found: list[MaintenanceTask] = []
    monkeypatch.setattr(housekeeping, "_tasks", found)
    return found


def make_lost_job() -> Job:
    return make_job(Status.RUNNING, lease_expires_at=LONG_AGO)


def is_rescued(job: Job) -> bool:
    return bool(row(job)["status"] != Status.RUNNING)


def raising(error: BaseException) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    return fail


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.01)


def test_each_round_lets_those_who_wait_know_of_what_nobody_has_announced(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    noticed: list[bool] = []
    monkeypatch.setattr(dispatcher.broker, "notice_what_waits", lambda: noticed.append(True))
    dispatcher.round()
    dispatcher.round()
    assert len(noticed) == 2


@pytest.mark.parametrize("error", [DatabaseError("no"), OperationalError("lock timeout"), OSError("no"), ValueError()])
def test_a_broker_that_fails_in_every_round_neither_ends_the_dispatcher_nor_postpones_rescue(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(dispatcher.broker, "notice_what_waits", raising(error))
    for _ in range(3):
        job = make_lost_job()
        dispatcher.round()
        assert is_rescued(job)


def test_a_statement_that_the_database_refuses_does_not_postpone_rescue(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask_nonsense() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT nonsense")

    monkeypatch.setattr(dispatcher.broker, "notice_what_waits", ask_nonsense)
    dispatcher.round()
    job = make_lost_job()
    dispatcher.round()
    assert is_rescued(job)


@needs_a_server
def test_a_connection_that_fails_postpones_rescue_until_the_living_have_renewed(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_connection() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as patched:
        patched.setattr(dispatcher.broker, "notice_what_waits", lose_the_connection)
        dispatcher.round()
    close_old_connections()
    job = make_lost_job()
    dispatcher.round()
    assert not is_rescued(job)
    dispatcher.rescue_from = time.monotonic()
    dispatcher.round()
    assert is_rescued(job)


def test_a_failing_rescue_is_postponed_and_the_rest_of_the_round_is_done(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    noticed: list[bool] = []
    monkeypatch.setattr(dispatcher.broker, "notice_what_waits", lambda: noticed.append(True))
    monkeypatch.setattr(dispatcher_module, "rescue", raising(RuntimeError("no")))
    before = time.monotonic()
    dispatcher.round()
    assert noticed == [True]
    assert dispatcher.rescue_from >= before + dispatcher_module.RENEWALS_FIRST


def test_a_maintenance_task_that_never_ends_and_schedules_that_hang_delay_no_rescue(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch, tasks: list[MaintenanceTask]
) -> None:
    """With the threads and the rounds of a real dispatcher."""
    begun, may_end = [threading.Event(), threading.Event()], threading.Event()

    def hang(number: int) -> int:
        begun[number].set()
        may_end.wait(PATIENCE)
        return 0

    tasks.append(MaintenanceTask(lambda: hang(0), 60))
    monkeypatch.setattr(dispatcher_module, "scheduler", lambda broker: hang(1))
    dispatcher.start_threads()
    try:
        assert all(event.wait(PATIENCE) for event in begun)
        job = make_lost_job()
        dispatcher.round()
        assert is_rescued(job)
    finally:
        may_end.set()
        dispatcher.stop_threads()
    wait_until(lambda: not any(thread.is_alive() for thread in dispatcher._threads))


@pytest.mark.parametrize("error", [DatabaseError("no"), OSError("no"), ZeroDivisionError(), SystemExit(3)])
def test_a_maintenance_task_that_fails_is_logged_and_the_others_are_run(
    tasks: list[MaintenanceTask], error: BaseException
) -> None:
    done: list[str] = []
    fail = raising(error)
    fail.__name__ = "broken_task"
    tasks += [
        MaintenanceTask(lambda: done.append("before") or 0, 60),
        MaintenanceTask(fail, 60),
        MaintenanceTask(lambda: done.append("after") or 0, 60),
    ]
    with capture_logs() as logs:
        housekeeping.run_due_tasks()
    assert done == ["before", "after"]
    [failed] = [entry for entry in logs if entry["event"] == "maintenance_task_failed"]
    assert (failed["task"], failed["failures"]) == ("broken_task", 1)


def test_a_failing_task_waits_longer_each_time_and_runs_as_usual_once_it_has_worked(
    tasks: list[MaintenanceTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, outcomes = [1000.0], iter([1, 1, 1, 0, 1])
    monkeypatch.setattr(housekeeping.time, "monotonic", lambda: clock[0])
    tasks.append(MaintenanceTask(lambda: 1 // (1 - next(outcomes)), 60))
    waits = []
    for _ in range(5):
        housekeeping.run_due_tasks()
        waits.append(tasks[0].due_at - clock[0])
        housekeeping.run_due_tasks()  # not due: it is not run, or outcomes would end too soon
        clock[0] = tasks[0].due_at
    assert waits == [1, 2, 4, 60, 1]


def test_the_backoff_of_a_task_is_bounded_by_its_period_and_by_five_minutes() -> None:
    assert [backoff(failures, 3600) for failures in (1, 2, 9, 10, 10_000)] == [1, 2, 256, LONGEST_BACKOFF, 300]
    assert backoff(10, 60) == 60


def test_no_error_of_a_round_or_of_a_thread_ends_a_running_dispatcher(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch, tasks: list[MaintenanceTask]
) -> None:
    rounds: list[float] = []
    scheduled: list[float] = []

    def notice() -> None:
        rounds.append(time.monotonic())
        dispatcher.stopping = len(rounds) >= 3 and len(scheduled) >= 2 and tasks[0].failures >= 2
        assert len(rounds) < 1000
        raise KeyError("no")

    def schedule(broker: Any) -> None:
        scheduled.append(time.monotonic())
        raise ValueError("no")

    monkeypatch.setattr(dispatcher_module, "TICK", 0.02)
    monkeypatch.setattr(dispatcher_module, "SCHEDULES_EVERY", 0.02)
    monkeypatch.setattr(housekeeping, "FIRST_BACKOFF", 0.01)
    monkeypatch.setattr(dispatcher.broker, "notice_what_waits", notice)
    monkeypatch.setattr(dispatcher_module, "scheduler", schedule)
    tasks.append(MaintenanceTask(raising(OSError("no")), 60))
    dispatcher.run()
    assert dispatcher.stopping
