"""One attempt, from a claimed row to its final one: whatever a handler does, and whatever happens to the database."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, close_old_connections, connection, transaction
from rest_framework import serializers

from jobs import heartbeat, interrupt
from jobs import worker as worker_module
from jobs.errors import LeaseLost, PermanentError, RetryAfter, TransientError
from jobs.models import Job
from jobs.queue import MayFollow
from jobs.run import Run
from jobs.states import Status
from jobs.strict import StrictSerializer
from jobs.worker import Worker
from tests.make import WORKER, disconnect, make_job, make_kind, row

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)
MANY = 50

pytestmark = pytest.mark.django_db


class Place:
    """A worker's place, as its guard sees it."""

    def __init__(self, predecessor: str = "") -> None:
        self.name, self.predecessor = WORKER, predecessor
        self.expected: list[float | str] = []

    def expect_done_within(self, seconds: float) -> None:
        self.expected.append(seconds)

    def expect_idle(self) -> None:
        self.expected.append("idle")


class Broker:
    """Gives out what the queue has, and then what django-q has; `on_idle` is called when there is neither."""

    def __init__(self, on_idle: Callable[[], object] = lambda: None) -> None:
        self.on_idle = on_idle
        self.packages: list[tuple[Any, str]] = []

    def claim(self, worker: str, limit: int, may_follow: MayFollow, without: Collection[str]) -> list[Job]:
        return list(Job.objects.claim(worker, limit=limit, may_follow=may_follow, without=without))

    def dequeue(self) -> list[tuple[Any, str]] | None:
        return [self.packages.pop(0)] if self.packages else None

    def wait(self) -> None:
        self.on_idle()


@pytest.fixture(autouse=True)
def _quick_and_contained(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(interrupt, "AGAIN", 0.02)
    monkeypatch.setattr(heartbeat, "BEAT", 0.05)
    monkeypatch.setattr(heartbeat, "LOOK", 0.02)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Worker:
    """One that waits no time at all for a database, and not for ever."""
    made = Worker(Place(), Broker())
    limit_waits(monkeypatch, made)
    return made


def run(worker: Worker, **fields: Any) -> dict[str, Any]:
    """One turn with a job of the kind test.kind; the row afterwards."""
    job = make_job(kind="test.kind", **{"params": {}} | fields)
    worker.turn()
    return row(job)


def test_a_handler_that_returns_succeeds_with_its_result(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: {"at": datetime(2026, 3, 1, tzinfo=UTC), "attempt": run.attempt})
    found = run(worker)
    assert (found["status"], found["result"]) == (Status.SUCCEEDED, {"at": "2026-03-01T00:00:00Z", "attempt": 1})
    assert found["progress"]["percent"] == 100
    assert worker.place.expected == [63, "idle"]


def test_a_handler_gets_its_params_as_what_they_mean(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    class Params(StrictSerializer):
        day = serializers.DateField()

    make_kind(monkeypatch, lambda run, day: day.year, params=Params)
    assert run(worker, params={"day": "2026-03-01"})["result"] == 2026


class OwnBaseException(BaseException):
    """What a library may raise that nobody is meant to catch."""


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("this error cannot even say what it is")


@pytest.mark.parametrize(
    "error",
    [
        *[ValueError("x"), TransientError("x"), SystemExit(1), SystemExit(0), KeyboardInterrupt(), GeneratorExit()],
        *[OwnBaseException("x"), RecursionError("x"), MemoryError(), StopIteration(), Mute(), OSError(5, "x")],
        *[OperationalError("x"), InterfaceError("x"), DatabaseError("x"), AssertionError()],
        BaseExceptionGroup("x", [SystemExit(1), ValueError("y")]),
        *[RetryAfter(float("inf")), RetryAfter(float("nan")), RetryAfter(1e300)],
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_handler_raises_is_recorded_and_tried_again_and_goes_no_further(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    make_kind(monkeypatch, raiser(error))
    found = run(worker)
    assert found["status"] == Status.RETRYING
    assert [(kept["type"], kept["attempt"]) for kept in found["errors"]] == [(type(error).__name__, 1)]
    assert worker.place.expected[-1] == "idle"


def test_a_time_to_come_that_is_no_number_goes_no_further_either(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handler(run: Run) -> None:
        raise RetryAfter("Wed, 21 Oct 2026 07:28:00 GMT", "busy")  # type: ignore[arg-type]

    make_kind(monkeypatch, handler)
    assert run(worker)["status"] == Status.RETRYING


def test_a_permanent_error_ends_the_job(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, raiser(PermanentError("no such account")))
    found = run(worker)
    assert (found["status"], found["errors"][0]["message"]) == (Status.FAILED, "no such account")


@pytest.mark.parametrize("result", [object(), float("nan"), "\0", {"a": {1, 2}}, "x" * 300_000, "\ud800", 2**70])
def test_a_result_that_cannot_be_stored_ends_the_job(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, result: object
) -> None:
    make_kind(monkeypatch, lambda run: result)
    found = run(worker)
    assert (found["status"], found["errors"][0]["type"]) == (Status.FAILED, "UnstorableResult")


@pytest.mark.parametrize("message", ["\ud800", "\0"])
def test_odd_progress_does_not_keep_the_end_from_being_recorded(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    make_kind(monkeypatch, lambda run: run.progress(1, message))
    assert run(worker)["status"] == Status.SUCCEEDED


def test_a_handler_that_takes_too_long_is_interrupted_and_tried_again(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_kind(monkeypatch, lambda run: time.sleep(30))
    found = run(worker, timeout=1)
    assert (found["status"], found["errors"][0]["type"]) == (Status.RETRYING, "TimedOut")


def test_a_kind_that_this_release_does_not_have_is_tried_again(worker: Worker) -> None:
    found = run(worker)
    assert (found["status"], found["errors"][0]["type"]) == (Status.RETRYING, "UnknownKind")


def test_params_that_the_serializer_no_longer_accepts_end_the_job(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_kind(monkeypatch, lambda run: pytest.fail("it must not run"))
    found = run(worker, params={"removed_in": "this release"})
    assert (found["status"], found["errors"][0]["type"]) == (Status.FAILED, "ValidationError")


@pytest.mark.parametrize("params", [{"seconds": 1}, {}])
def test_params_that_the_function_does_not_take_are_an_error_like_any_other(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, params: dict[str, int]
) -> None:
    class Loose(StrictSerializer):
        seconds = serializers.IntegerField(required=False)

    make_kind(monkeypatch, lambda run, *, minutes=None, **more: more["hours"], params=Loose)
    assert run(worker, params=params)["status"] == Status.RETRYING


@pytest.mark.parametrize("outcome", ["returns", "raises", "fails for good"])
@pytest.mark.parametrize("change", [{"attempt": 2}, {"worker": "there:2"}])
def test_an_attempt_that_was_given_up_meanwhile_writes_nothing(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, outcome: str, change: dict[str, Any]
) -> None:
    after: list[dict[str, Any]] = []

    def handler(run: Run) -> None:
        Job.objects.update(**change)
        after.append(Job.objects.values().get())
        if outcome != "returns":
            raise {"raises": ValueError, "fails for good": PermanentError}[outcome]("x")

    make_kind(monkeypatch, handler)
    assert run(worker) == after[0]


def test_a_job_that_was_deleted_meanwhile_ends_no_worker(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: Job.objects.all().delete() and None)
    make_job(kind="test.kind", params={})
    worker.turn()
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("reason", "status", "attempt"),
    [
        (interrupt.Cancelled("x"), Status.CANCELLED, 1),
        (interrupt.Stopped("x"), Status.QUEUED, 0),
        (interrupt.Abandoned("x"), Status.RUNNING, 1),
    ],
)
def test_why_a_handler_was_interrupted_decides_what_becomes_of_its_job(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, reason: interrupt.Interrupted, status: str, attempt: int
) -> None:
    def handler(run: Run) -> None:
        worker.main.interrupt(reason)
        time.sleep(30)

    make_kind(monkeypatch, handler)
    found = run(worker)
    assert (found["status"], found["attempt"], found["errors"]) == (status, attempt, [])


def test_a_cancelled_handler_that_fails_while_it_cleans_up_is_cancelled_all_the_same(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handler(run: Run) -> None:
        Job.objects.get().cancel()
        try:
            worker.main.interrupt(interrupt.Cancelled("x"))
            time.sleep(30)
        finally:
            raise ValueError("while cleaning up")

    make_kind(monkeypatch, handler)
    found = run(worker)
    assert (found["status"], [kept["type"] for kept in found["errors"]]) == (Status.CANCELLED, ["ValueError"])


@pytest.mark.django_db(transaction=True)
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
            worker.main.stop()
        return "kept"

    make_kind(monkeypatch, handler)
    job = make_job(kind="test.kind", params={})
    with contextlib.ExitStack() as outage:
        worker.turn()
    assert row(job)["status"] == status
    assert row(job)["result"] == ("kept" if outcome == "returns" else None)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has no connection that could break.")
@pytest.mark.django_db(transaction=True)
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


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ends", ["returns", "raises"])
def test_a_handler_that_leaves_a_transaction_open_has_its_outcome_recorded_and_the_worker_goes_on(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """So does an interruption that comes just after an atomic block's first statement, or before its last."""
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


@pytest.mark.django_db(transaction=True)
def test_a_worker_takes_over_what_its_predecessor_was_running(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = make_job(Status.RUNNING, worker="here:0")
    others = make_job(Status.RUNNING, worker="here:9")
    worker = Worker(Place(predecessor="here:0"), Broker(stop))
    run_to_the_end(worker)
    assert row(lost)["errors"][0]["type"] == "WorkerLost"
    assert row(others)["status"] == Status.RUNNING
    assert worker.place.predecessor == ""


@pytest.mark.django_db(transaction=True)
def test_a_job_that_died_with_its_worker_runs_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: run.attempt)
    lost = make_job(Status.RUNNING, worker="here:0", kind="test.kind", params={})
    run_to_the_end(Worker(Place(predecessor="here:0"), Broker(stop)))
    assert (row(lost)["status"], row(lost)["result"]) == (Status.SUCCEEDED, 2)


@pytest.mark.django_db(transaction=True)
def test_a_worker_finishes_what_it_runs_when_it_is_asked_to_stop_and_takes_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_kind(monkeypatch, lambda run: signal.raise_signal(signal.SIGTERM))
    first, second = [make_job(kind="test.kind", params={}, priority=priority) for priority in (1, 0)]
    run_to_the_end(Worker(Place(), Broker(pytest.fail)))
    assert (row(first)["status"], row(second)["status"]) == (Status.SUCCEEDED, Status.QUEUED)


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_must_stop_now_hands_its_job_back_and_takes_nothing_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def handler(run: Run) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(30)

    make_kind(monkeypatch, handler)
    first, second = [make_job(kind="test.kind", params={}, priority=priority) for priority in (1, 0)]
    run_to_the_end(Worker(Place(), Broker(pytest.fail)))
    assert (row(first)["status"], row(first)["attempt"], row(first)["errors"]) == (Status.QUEUED, 0, [])
    assert row(second)["attempt"] == 0


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_must_stop_before_its_job_began_hands_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(Broker):
        def claim(self, *args: Any) -> list[Job]:
            claimed = super().claim(*args)
            signal.raise_signal(signal.SIGUSR1)
            return claimed

    make_kind(monkeypatch, lambda run: pytest.fail("it must not run"))
    job = make_job(kind="test.kind", params={})
    run_to_the_end(Worker(Place(), Late()))
    assert (row(job)["status"], row(job)["attempt"], row(job)["errors"]) == (Status.QUEUED, 0, [])


@pytest.mark.django_db(transaction=True)
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
    worker = Worker(Place(), Flaky(stop))
    limit_waits(monkeypatch, worker)
    run_to_the_end(worker)
    assert row(job)["result"] == "done"


@pytest.mark.django_db(transaction=True)
def test_a_running_job_that_is_cancelled_is_stopped_by_the_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(run: Run) -> None:
        Job.objects.get().cancel()
        time.sleep(30)

    make_kind(monkeypatch, handler)
    job = make_job(kind="test.kind", params={})
    run_to_the_end(Worker(Place(), Broker(stop)))
    assert row(job)["status"] == Status.CANCELLED


def test_plain_tasks_have_their_turn_when_no_job_is_due(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[Any, str]] = []
    monkeypatch.setattr(worker_module.plain, "run", lambda broker, receipt, package: ran.append((receipt, package)))
    make_kind(monkeypatch, lambda run: "done")
    job = make_job(kind="test.kind", params={})
    worker.broker.packages = [(7, "package")]
    worker.turn()
    assert (row(job)["status"], ran) == (Status.SUCCEEDED, [])
    worker.turn()
    worker.turn()
    assert ran == [(7, "package")]


def test_plain_tasks_have_a_turn_now_and_then_even_when_jobs_never_end(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[int] = []
    monkeypatch.setattr(worker_module.plain, "run", lambda broker, receipt, package: ran.append(worker.turns))
    make_kind(monkeypatch, lambda run: time.sleep(0.03))
    worker.broker.packages = [(7, "package")]
    for _ in range(worker_module.PLAIN_EVERY + 1):
        make_job(kind="test.kind", params={})
    for _ in range(worker_module.PLAIN_EVERY):
        worker.turn()
    assert len(ran) == 1
    assert Job.objects.due().count() == 1


def test_a_poisonous_result_does_not_sink_those_that_are_written_with_it(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_kind(monkeypatch, lambda run: {"1": "\ud800", "2": 2**70}.get(str(run.attempt), "good"))
    for _ in range(3):
        worker.pace.measured("test.kind", 0.0001)
    jobs = [make_job(kind="test.kind", params={}, attempt=attempt) for attempt in (5, 0, 6, 1, 7)]
    worker.turn()
    assert [row(job)["status"] for job in jobs] == ["succeeded", "failed", "succeeded", "failed", "succeeded"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ends", ["returns", "raises", "is cancelled", "takes too long"])
def test_a_job_in_a_thread_ends_as_one_in_the_main_thread(monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
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
    job = make_job(kind="test.kind", params={}, timeout=1)
    run_to_the_end(Worker(Place(), Broker(stop)))
    expected = {"returns": Status.SUCCEEDED, "is cancelled": Status.CANCELLED}
    assert row(job)["status"] == expected.get(ends, Status.RETRYING)


def test_what_a_handler_logs_says_which_job_it_is_about(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: structlog.contextvars.get_contextvars())
    found = run(worker, request_id="r-1")
    assert found["result"] == {"job_id": str(found["id"]), "kind": "test.kind", "attempt": 1, "request_id": "r-1"}
    assert structlog.contextvars.get_contextvars() == {}


def test_a_lost_lease_raised_by_the_handler_itself_is_an_error_like_any_other(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_kind(monkeypatch, lambda run: (_ for _ in ()).throw(LeaseLost(run.job_id, 9)))
    assert run(worker)["status"] == Status.RETRYING


def raiser(error: BaseException) -> Callable[[Run], None]:
    def handler(run: Run) -> None:
        raise error

    return handler


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
