"""One attempt, from a claimed row to its final one: whatever a handler does, and whatever happens to the database."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from django.db import DatabaseError, InterfaceError, OperationalError, connection
from rest_framework import serializers

from jobs.errors import LeaseLost, PermanentError, RetryAfter, TransientError
from jobs.models import Job
from jobs.models.states import Status
from jobs.run import Run
from jobs.worker import worker as worker_module
from jobs.worker.attempts import interrupt
from jobs.worker.attempts.attempt import REJECTIONS, wait_for_database
from jobs.worker.django_q_tasks import DjangoQTasks
from jobs.worker.watchdog import STUCK_AFTER, StartedJob
from jobs.worker.worker import Worker
from rest import outage
from rest.outage import DatabaseAway
from rest.requests.strict import StrictSerializer
from tests.support.claims import due_jobs
from tests.support.factories import make_job, make_kind, row
from tests.support.standalone_worker import run, time_kept

pytest_plugins = ["tests.support.worker_fixtures"]
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("contained_signals")]


def test_a_handler_that_returns_succeeds_with_its_result(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: {"at": datetime(2026, 3, 1, tzinfo=UTC), "attempt": run.attempt})
    found = run(worker)
    assert (found["status"], found["result"]) == (Status.SUCCEEDED, {"at": "2026-03-01T00:00:00Z", "attempt": 1})
    assert found["progress"]["percent"] == 100
    assert worker.handle.watchdog.started() == []


def test_a_handler_runs_under_the_deadline_of_its_job(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[StartedJob] = []
    make_kind(monkeypatch, lambda run: started.extend(worker.handle.watchdog.started()))
    found = run(worker, timeout=1000)
    assert [each.job_id for each in started] == [found["id"]]
    assert 0 <= time.monotonic() + 1000 + STUCK_AFTER - started[0].deadline < 60


def test_a_handler_gets_its_params_as_python_values(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    class Params(StrictSerializer):
        day = serializers.DateField()

    make_kind(monkeypatch, lambda run, day: day.year, params=Params)
    assert run(worker, params={"day": "2026-03-01"})["result"] == 2026


class OwnBaseException(BaseException):
    """An error of a library that `except Exception` does not catch."""


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
def test_whatever_a_handler_raises_is_recorded_and_retried_and_does_not_end_the_worker(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    make_kind(monkeypatch, raiser(error))
    found = run(worker)
    assert found["status"] == Status.RETRYING
    assert [(kept["type"], kept["attempt"]) for kept in found["errors"]] == [(type(error).__name__, 1)]
    assert worker.handle.watchdog.started() == []


def test_a_retry_after_that_is_no_number_does_not_end_the_worker_either(
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
    with time_kept(worker):
        found = run(worker, timeout=1)
    assert (found["status"], found["errors"][0]["type"]) == (Status.RETRYING, "TimedOut")


@pytest.mark.parametrize("error", REJECTIONS)
def test_an_outcome_that_the_database_refuses_is_not_tried_again(worker: Worker, error: type[Exception]) -> None:
    assert tries_to_record(worker, error) == 1


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_an_outcome_waits_for_a_database_that_is_away(worker: Worker, error: type[Exception]) -> None:
    assert tries_to_record(worker, error) == 3


def tries_to_record(worker: Worker, error: type[Exception]) -> int:
    """How often an outcome is written whose first two tries end in this error."""
    tries = 0

    def write() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise error

    worker.attempts.record(write)
    return tries


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
def test_params_that_the_handler_does_not_take_are_an_error_like_any_other(
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


def test_a_job_that_was_deleted_meanwhile_does_not_end_its_worker(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_the_reason_of_an_interruption_decides_the_status_of_the_job(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, reason: interrupt.Interrupted, status: str, attempt: int
) -> None:
    def handler(run: Run) -> None:
        worker.main_thread.interrupt(reason)
        time.sleep(30)

    make_kind(monkeypatch, handler)
    with time_kept(worker):
        found = run(worker)
    assert (found["status"], found["attempt"], found["errors"]) == (status, attempt, [])


def test_a_cancelled_handler_that_fails_while_it_cleans_up_is_cancelled_all_the_same(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handler(run: Run) -> None:
        Job.objects.get().cancel()
        try:
            worker.main_thread.interrupt(interrupt.Cancelled("x"))
            time.sleep(30)
        finally:
            raise ValueError("while cleaning up")

    monkeypatch.setattr(interrupt, "REPEAT_AFTER", 60)
    make_kind(monkeypatch, handler)
    with time_kept(worker):
        found = run(worker)
    assert (found["status"], found["errors"]) == (Status.CANCELLED, [])


def test_plain_tasks_have_their_turn_when_no_job_is_due(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[tuple[Any, str]] = []
    monkeypatch.setattr(DjangoQTasks, "run", lambda tasks, receipt, package: ran.append((receipt, package)))
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
    monkeypatch.setattr(DjangoQTasks, "run", lambda tasks, receipt, package: ran.append(worker.turns))
    make_kind(monkeypatch, lambda run: time.sleep(0.03))
    worker.broker.packages = [(7, "package")]
    for _ in range(worker_module.DJANGO_Q_EVERY + 1):
        make_job(kind="test.kind", params={})
    for _ in range(worker_module.DJANGO_Q_EVERY):
        worker.turn()
    assert len(ran) == 1
    assert due_jobs().count() == 1


def test_a_result_that_cannot_be_stored_does_not_fail_others_of_its_batch(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_kind(monkeypatch, lambda run: {"1": "\ud800", "2": 2**70}.get(str(run.attempt), "good"))
    for _ in range(3):
        worker.prefetch.add_duration("test.kind", 0.0001)
    jobs = [make_job(kind="test.kind", params={}, attempt=attempt) for attempt in (5, 0, 6, 1, 7)]
    while due_jobs().exists():
        worker.turn()
    assert [row(job)["status"] for job in jobs] == ["succeeded", "failed", "succeeded", "failed", "succeeded"]


def test_the_log_lines_of_a_handler_name_its_job(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.django_db(transaction=True)
def test_an_outage_that_has_not_cut_this_connection_ends_when_the_database_answers() -> None:
    """Another thread could not connect; nothing here connects anew, so nothing else would end the outage."""
    connection.ensure_connection()
    assert outage.database.note(DatabaseAway("too many clients already"))
    assert outage.database.pause() > 0
    wait_for_database()
    assert outage.database.pause() == 0
