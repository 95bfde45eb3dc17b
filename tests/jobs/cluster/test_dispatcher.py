"""What a dispatcher does, inside the test's own process: one failing or slow step never costs the others anything."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import caches
from django.db import DatabaseError, OperationalError, close_old_connections, connection
from django.utils import timezone
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.status import Stat
from django_q.tasks import schedule
from structlog.testing import capture_logs

from jobs.cluster import dispatcher as dispatcher_module
from jobs.cluster import maintenance
from jobs.cluster.dispatcher import MIN_PAUSE, TICK, Dispatcher, pause_until
from jobs.cluster.maintenance import MAX_BACKOFF, SLICE, MaintenanceTask, backoff
from jobs.django_q import cluster_status
from jobs.models import Job
from jobs.models.states import Status
from tests.support.factories import LONG_AGO, make_job, row
from tests.support.inline_worker import signal_handlers_kept
from tests.support.timeouts import PATIENCE

pytestmark = pytest.mark.django_db(transaction=True)

needs_a_server = pytest.mark.skipif(connection.vendor == "sqlite", reason="A file has no connection that can be cut.")


@pytest.fixture(autouse=True)
def _no_clusters_known(db: None) -> None:
    caches["shared"].clear()


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    with signal_handlers_kept():
        yield Dispatcher(get_broker())


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> list[MaintenanceTask]:
    """The maintenance tasks that there are during the test."""
    found: list[MaintenanceTask] = []
    monkeypatch.setattr(maintenance, "_tasks", found)
    return found


def make_lost_job() -> Job:
    return make_job(Status.RUNNING, lease_expires_at=timezone.now() - timedelta(seconds=TICK / 2))


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


def test_each_round_wakes_workers_for_jobs_that_nobody_has_announced(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    noticed: list[bool] = []
    monkeypatch.setattr(dispatcher.broker, "wake_for_due_jobs", lambda: noticed.append(True))
    dispatcher.round()
    dispatcher.round()
    assert len(noticed) == 2


@pytest.mark.parametrize("error", [DatabaseError("no"), OperationalError("lock timeout"), OSError("no"), ValueError()])
def test_a_broker_that_fails_in_every_round_neither_ends_the_dispatcher_nor_postpones_rescue(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(dispatcher.broker, "wake_for_due_jobs", raising(error))
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

    monkeypatch.setattr(dispatcher.broker, "wake_for_due_jobs", ask_nonsense)
    dispatcher.round()
    job = make_lost_job()
    dispatcher.round()
    assert is_rescued(job)


def test_between_two_looks_at_all_leases_only_those_that_have_just_expired_are_read(dispatcher: Dispatcher) -> None:
    dispatcher.round()
    job = make_job(Status.RUNNING, lease_expires_at=LONG_AGO)
    dispatcher.round()
    assert not is_rescued(job)
    dispatcher.all_leases_at = time.monotonic()
    dispatcher.round()
    assert is_rescued(job)


@needs_a_server
def test_a_connection_that_fails_postpones_rescue_until_living_workers_have_renewed(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_connection() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    with monkeypatch.context() as patched:
        patched.setattr(dispatcher.broker, "wake_for_due_jobs", lose_the_connection)
        dispatcher.round()
    close_old_connections()
    job = make_lost_job()
    dispatcher.round()
    assert not is_rescued(job)
    dispatcher.rescue_not_before = time.monotonic()
    dispatcher.round()
    assert is_rescued(job)


def test_a_failing_rescue_is_postponed_and_the_rest_of_the_round_is_done(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    noticed: list[bool] = []
    monkeypatch.setattr(dispatcher.broker, "wake_for_due_jobs", lambda: noticed.append(True))
    monkeypatch.setattr(dispatcher_module, "rescue", raising(RuntimeError("no")))
    before = time.monotonic()
    dispatcher.round()
    assert noticed == [True]
    assert dispatcher.rescue_not_before >= before + dispatcher_module.RESCUE_DELAY_AFTER_OUTAGE


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
    monkeypatch.setattr(dispatcher.schedules, "fire_due", lambda: hang(1))
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
        maintenance.run_due_tasks()
    assert done == ["before", "after"]
    [failed] = [entry for entry in logs if entry["event"] == "maintenance_task_failed"]
    assert (failed["task"], failed["failures"]) == ("broken_task", 1)


def test_a_failing_task_waits_longer_each_time_and_runs_as_usual_once_it_has_worked(
    tasks: list[MaintenanceTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, outcomes = [1000.0], iter([1, 1, 1, 0, 1])
    monkeypatch.setattr(maintenance.time, "monotonic", lambda: clock[0])
    tasks.append(MaintenanceTask(lambda: 1 // (1 - next(outcomes)), 60))
    waits = []
    for _ in range(5):
        maintenance.run_due_tasks()
        waits.append(tasks[0].due_at - clock[0])
        maintenance.run_due_tasks()  # not due: it is not run, or outcomes would end too soon
        clock[0] = tasks[0].due_at
    assert waits == [1, 2, 4, 60, 1]


def test_a_task_of_many_batches_does_some_each_time_and_begins_anew_when_it_is_due_again(
    tasks: list[MaintenanceTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, begun, others = [1000.0], [], []

    def batches() -> Iterator[int]:
        begun.append(clock[0])
        for _ in range(5):
            clock[0] += 0.6 * SLICE
            yield 500

    batches.__name__ = "batches"
    monkeypatch.setattr(maintenance.time, "monotonic", lambda: clock[0])
    tasks += [MaintenanceTask(batches, 60), MaintenanceTask(lambda: others.append(clock[0]) or 0, 0)]
    with capture_logs() as logs:
        for _ in range(3):
            maintenance.run_due_tasks()
    assert logs == [{"event": "maintenance_task_done", "task": "batches", "count": 2500, "log_level": "info"}]
    assert others == pytest.approx([1000 + number * SLICE for number in (1.2, 2.4, 3.0)])
    maintenance.run_due_tasks()
    clock[0] = tasks[0].due_at
    maintenance.run_due_tasks()
    assert begun == pytest.approx([1000, 1060 + 3.0 * SLICE])


def test_a_task_that_fails_between_two_batches_begins_anew(
    tasks: list[MaintenanceTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, begun = [1000.0], []

    def batches() -> Iterator[int]:
        begun.append(clock[0])
        clock[0] += SLICE
        yield 500
        raise OSError("no")

    monkeypatch.setattr(maintenance.time, "monotonic", lambda: clock[0])
    tasks.append(MaintenanceTask(batches, 60))
    for _ in range(3):
        maintenance.run_due_tasks()
        clock[0] = max(clock[0], tasks[0].due_at)
    assert begun == pytest.approx([1000, 1001 + SLICE])


def test_the_backoff_of_a_task_is_bounded_by_its_period_and_by_five_minutes() -> None:
    assert [backoff(failures, 3600) for failures in (1, 2, 9, 10, 10_000)] == [1, 2, 256, MAX_BACKOFF, 300]
    assert backoff(10, 60) == 60


def test_no_error_of_a_round_or_of_a_thread_ends_a_running_dispatcher(
    dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch, tasks: list[MaintenanceTask]
) -> None:
    rounds: list[float] = []
    scheduled: list[float] = []
    too_late = time.monotonic() + PATIENCE

    def notice() -> None:
        rounds.append(time.monotonic())
        all_failed_again = len(rounds) >= 3 and len(scheduled) >= 2 and tasks[0].failures >= 2
        dispatcher.stopping = all_failed_again or time.monotonic() > too_late
        raise KeyError("no")

    def schedule() -> None:
        scheduled.append(time.monotonic())
        raise ValueError("no")

    monkeypatch.setattr(dispatcher_module, "TICK", 0.02)
    monkeypatch.setattr(maintenance, "FIRST_BACKOFF", 0.01)
    monkeypatch.setattr(dispatcher.broker, "wake_for_due_jobs", notice)
    monkeypatch.setattr(dispatcher.schedules, "fire_due", schedule)
    tasks.append(MaintenanceTask(raising(OSError("no")), 60))
    dispatcher.run()
    assert len(rounds) >= 3
    assert len(scheduled) >= 2
    assert tasks[0].failures >= 2


@pytest.mark.parametrize(
    ("due_in", "pause"), [(None, TICK), (60, TICK), (0.4, 0.4), (0, MIN_PAUSE), (-3600, MIN_PAUSE)]
)
def test_schedules_are_looked_at_when_one_is_due_and_at_least_every_tick(due_in: float | None, pause: float) -> None:
    now = timezone.now()
    assert pause_until(None if due_in is None else now + timedelta(seconds=due_in), now) == pytest.approx(pause)


def test_after_each_look_the_dispatcher_waits_for_the_next_schedule(dispatcher: Dispatcher) -> None:
    schedule("math.sqrt", 4, name="now")
    schedule("math.sqrt", 4, name="soon", next_run=timezone.now() + timedelta(seconds=TICK))
    dispatcher.run_schedules()
    assert OrmQ.objects.count() == 1
    assert 0 < dispatcher._pause < TICK


class Watched:
    """A worker process as the dispatcher sees it."""

    def __init__(self, pid: int, busy: bool, replacements: int) -> None:
        self.pid, self.busy, self.replacements = pid, busy, replacements


@pytest.mark.parametrize(("busy", "status"), [(True, Conf.WORKING), (False, Conf.IDLE)])
def test_the_cluster_is_known_to_django_qs_monitoring(busy: bool, status: str) -> None:
    with signal_handlers_kept():
        dispatcher = Dispatcher(get_broker(), [Watched(11, busy, 2), Watched(12, False, 1)])  # type: ignore[list-item]
    dispatcher.publish_status()
    [stat] = Stat.get_all()
    assert (stat.workers, stat.status, stat.reincarnations) == ([11, 12], status, 3)
    assert (stat.host, stat.cluster_id) == (socket.gethostname(), dispatcher.status.id)
    assert stat.uptime() >= 0


def test_a_cluster_that_stops_says_so(dispatcher: Dispatcher) -> None:
    dispatcher.publish_status()
    dispatcher.status.withdraw(dispatcher.broker)
    assert [stat.status for stat in Stat.get_all()] in ([Conf.STOPPED], [])


def test_a_cluster_that_was_killed_is_forgotten(dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_status, "EXPIRES", 1)
    dispatcher.publish_status()
    wait_until(lambda: Stat.get_all() == [])
