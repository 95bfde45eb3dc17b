"""The Job row: what its constraints refuse, who may write to it, and what happens between two statements of a verb."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from jobs.errors import LeaseLost, UniqueKeyTaken
from jobs.models import Job
from jobs.models.attempt_errors import ERRORS_KEPT, AttemptError
from jobs.models.ids import new_id
from jobs.models.states import TERMINAL, WAITING, Status
from jobs.worker.attempts.outcome import record_failure
from jobs.worker.rescue import rescue
from tests.support.claims import claim_jobs
from tests.support.factories import WORKER, make_error, make_job, make_user, row

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
NOW = "2026-01-01 00:00:00+00:00"
UNFINISHED = sorted(set(Status) - TERMINAL)

BAD = [
    *[(status, "finished_at = NULL") for status in sorted(TERMINAL)],
    *[(status, f"finished_at = '{NOW}'") for status in UNFINISHED],
    *[(status, f"lease_expires_at = '{NOW}'") for status in sorted(set(Status) - {Status.RUNNING})],
    (Status.RUNNING, "lease_expires_at = NULL"),
    (Status.RUNNING, "started_at = NULL"),
    (Status.RUNNING, "status = 'queued'"),
    (Status.RUNNING, "status = 'succeeded'"),
    (Status.QUEUED, "status = 'running'"),
    (Status.QUEUED, "status = 'failed'"),
    (Status.SUCCEEDED, "status = 'retrying'"),
    (Status.QUEUED, "status = 'lost'"),
    (Status.QUEUED, "status = ''"),
    (Status.QUEUED, "status = NULL"),
    (Status.QUEUED, "timeout = 0"),
    (Status.QUEUED, "timeout = -1"),
    (Status.QUEUED, "attempt = -1"),
    (Status.QUEUED, "kind = NULL"),
    (Status.QUEUED, "errors = NULL"),
]

LEAVING: dict[str, Callable[[Job], object]] = {
    "succeed": lambda job: job.succeed(None),
    "fail": lambda job: job.fail(make_error()),
    "retry": lambda job: job.retry(make_error(), timezone.now()),
    "finish_cancelled": lambda job: job.finish_cancelled(),
    "hand_back": lambda job: job.hand_back(),
}

OTHERS = {
    "a later attempt": {"attempt": 2},
    "another worker's": {"worker": "there:2"},
    "nobody's, queued again": {"status": Status.QUEUED, "lease_expires_at": None},
    "over": {"status": Status.FAILED, "lease_expires_at": None, "finished_at": timezone.now()},
}
"""What has happened to a running job without its worker's knowledge."""


@pytest.mark.parametrize(("status", "change"), BAD)
def test_the_database_itself_refuses_a_row_that_makes_no_sense(status: str, change: str) -> None:
    make_job(status)
    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"UPDATE jobs_job SET {change}")  # noqa: S608 the changes stand above


@pytest.mark.parametrize("status", Status)
def test_the_database_accepts_every_state_as_the_engine_writes_it(status: str) -> None:
    assert row(make_job(status))["status"] == status


@pytest.mark.parametrize("status", UNFINISHED)
@pytest.mark.parametrize("owner", ["ada", None])
def test_no_other_job_can_have_the_unique_key_of_an_unfinished_job(status: str, owner: str | None) -> None:
    user = owner and make_user(owner)
    make_job(status, user=user, unique_key="nightly")
    with pytest.raises(IntegrityError), transaction.atomic():
        make_job(user=user, unique_key="nightly")


@pytest.mark.parametrize("status", sorted(TERMINAL))
@pytest.mark.parametrize("owner", ["ada", None])
def test_a_unique_key_is_free_again_once_its_job_has_finished(status: str, owner: str | None) -> None:
    user = owner and make_user(owner)
    make_job(status, user=user, unique_key="nightly")
    make_job(status, user=user, unique_key="nightly")
    assert make_job(user=user, unique_key="nightly")


def test_users_do_not_share_unique_keys_with_each_other_or_with_nobody() -> None:
    for user in (make_user("ada"), make_user("grace"), None):
        make_job(user=user, unique_key="nightly")
    assert Job.objects.count() == 3


@pytest.mark.parametrize("owner", ["ada", None])
def test_jobs_without_a_unique_key_do_not_collide(owner: str | None) -> None:
    user = owner and make_user(owner)
    make_job(user=user)
    make_job(user=user)
    assert Job.objects.count() == 2


def test_a_job_is_not_restarted_while_another_has_its_unique_key() -> None:
    job = make_job(Status.FAILED, unique_key="nightly")
    holder = make_job(Status.QUEUED, unique_key="nightly")
    before = row(job)
    with pytest.raises(UniqueKeyTaken) as taken, transaction.atomic():
        job.restart()
    assert taken.value.job_id == holder.pk
    assert row(job) == before


@pytest.mark.parametrize("times", [1, 3])
def test_a_job_is_restarted_if_the_holders_of_its_unique_key_end_meanwhile(times: int) -> None:
    job = make_job(Status.FAILED, unique_key="nightly")
    holders = [make_job(Status.CANCELLED if number else Status.QUEUED, unique_key="nightly") for number in range(times)]

    with each_holder_ending_when_it_is_looked_up(holders):
        job.restart()

    assert row(job)["status"] == job.status == Status.QUEUED
    assert {row(holder)["status"] for holder in holders} == {Status.CANCELLED}


@pytest.mark.parametrize("changes", OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize("verb", LEAVING)
def test_an_attempt_that_was_given_up_cannot_overwrite_what_came_after_it(verb: str, changes: dict[str, Any]) -> None:
    job = make_job(Status.RUNNING)
    Job.objects.update(**changes)
    before = row(job)
    with pytest.raises(LeaseLost, match=f"attempt 1 of job {job.pk}"):
        LEAVING[verb](job)
    assert row(job) == before


@pytest.mark.parametrize("first", LEAVING)
@pytest.mark.parametrize("second", LEAVING)
def test_an_attempt_ends_once(first: str, second: str) -> None:
    job = make_job(Status.RUNNING)
    LEAVING[first](job)
    before = row(job)
    with pytest.raises(LeaseLost):
        LEAVING[second](job)
    assert row(job) == before


@pytest.mark.parametrize("verb", LEAVING)
def test_an_attempt_of_a_job_that_was_deleted_is_lost(verb: str) -> None:
    job = make_job(Status.RUNNING)
    Job.objects.filter(pk=job.pk).delete()
    with pytest.raises(LeaseLost):
        LEAVING[verb](job)


def test_a_job_handed_back_and_claimed_again_with_the_same_attempt_belongs_to_the_new_worker() -> None:
    job = make_job(Status.RUNNING)
    Job.objects.get().hand_back()
    [again] = claim_jobs("there:2")
    assert again.attempt == job.attempt
    with pytest.raises(LeaseLost):
        job.succeed("stale")
    again.succeed("fresh")
    assert row(job)["result"] == "fresh"


def test_a_cancellation_reaches_a_job_that_a_worker_claims_meanwhile() -> None:
    job = make_job(Status.QUEUED)
    with before_statement(2, lambda: claim_jobs("there:2")):
        job.cancel()
    assert is_cancelled_or_told_to_be(job)


@pytest.mark.parametrize("verb", ["hand_back", "retry"])
def test_a_cancellation_reaches_a_job_that_its_worker_puts_back_meanwhile(verb: str) -> None:
    """The first statement finds it running and the second one waiting: neither matches, though it has not finished."""
    job = make_job(Status.RUNNING)
    worker = Job.objects.get()
    with before_statement(2, lambda: LEAVING[verb](worker)):
        job.cancel()
    assert is_cancelled_or_told_to_be(job)


def test_cancelling_a_deleted_job_raises_does_not_exist() -> None:
    job = make_job(Status.QUEUED)
    Job.objects.filter(pk=job.pk).delete()
    with pytest.raises(Job.DoesNotExist):
        job.cancel()


def test_the_jobs_of_a_user_go_with_the_user() -> None:
    user = make_user()
    make_job(Status.RUNNING, user=user)
    make_job()
    User.objects.filter(pk=user.pk).delete()
    assert [job.user for job in Job.objects.all()] == [None]


def test_ids_are_of_version_7_and_sort_by_age() -> None:
    ids = [new_id() for _ in range(1000)]
    assert {id_.version for id_ in ids} == {7}
    assert all(type(id_) is UUID for id_ in ids)
    assert ids == sorted(ids)


def test_the_newest_job_comes_first() -> None:
    made = [make_job(status) for status in [*WAITING, *TERMINAL]]
    assert list(Job.objects.all()) == made[::-1]


def test_a_job_is_called_by_its_kind_and_id() -> None:
    job = make_job()
    assert str(job) == f"demo.countdown {job.pk}"


@contextmanager
def each_holder_ending_when_it_is_looked_up(holders: list[Job]) -> Iterator[None]:
    """At each lookup of the unique key the unfinished holder ends, and the next one becomes the holder."""
    waiting = list(holders)

    def end(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if sql.startswith("SELECT") and '"unique_key" =' in sql and waiting:
            Job.objects.filter(pk=waiting.pop(0).pk).update(status=Status.CANCELLED, finished_at=timezone.now())
            found = execute(sql, params, many, context)
            if waiting:
                Job.objects.filter(pk=waiting[0].pk).update(status=Status.QUEUED, finished_at=None)
            return found
        return execute(sql, params, many, context)

    with connection.execute_wrapper(end):
        yield


@contextmanager
def before_statement(number: int, action: Callable[[], object]) -> Iterator[None]:
    """Calls `action` just before the body's statement of this number, if there are that many."""
    seen = 0

    def count(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        nonlocal seen
        seen += 1
        if seen == number:
            action()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(count):
        yield


def is_cancelled_or_told_to_be(job: Job) -> bool:
    found = row(job)
    return found["status"] == Status.CANCELLED or (found["status"] == Status.RUNNING and found["cancel_requested"])


ENDING: dict[str, Callable[[Job, AttemptError], None]] = {
    "fail": lambda job, error: job.fail(error),
    "retry": lambda job, error: job.retry(error, timezone.now()),
    "finish_cancelled": lambda job, error: job.finish_cancelled(error),
    "retry, though cancelled": lambda job, error: put_off_though_cancelled(job, error),
}


@pytest.mark.parametrize("end", ENDING.values(), ids=ENDING.keys())
@pytest.mark.parametrize("count", [0, 1, ERRORS_KEPT - 1, ERRORS_KEPT, ERRORS_KEPT + 50])
@pytest.mark.parametrize("deferred", [True, False])
def test_a_job_keeps_its_latest_errors_and_no_more_however_its_attempts_end(
    end: Callable[[Job, AttemptError], None], count: int, deferred: bool
) -> None:
    before = [make_error(f'number {number} %s \\ " ü') for number in range(count)]
    pk = make_job(Status.RUNNING, errors=before).pk
    other = make_job(Status.RUNNING, errors=before)
    job = Job.objects.without_history().get(pk=pk) if deferred else Job.objects.get(pk=pk)
    error = make_error("one more")
    end(job, error)
    assert row(job)["errors"] == job.errors == [*before, error][-ERRORS_KEPT:]
    assert row(other)["errors"] == before


UNREAD: dict[str, tuple[str, Callable[[Job], object]]] = {
    "claim": (Status.QUEUED, lambda job: claim_jobs(WORKER)),
    "claim many": (Status.QUEUED, lambda job: claim_jobs(WORKER, limit=100)),
    "look for what is due": (Status.RETRYING, lambda job: Job.objects.queue_due()),
    "hand back many": (Status.RUNNING, lambda job: Job.objects.hand_back_many(WORKER, [job])),
    "conclude a failure": (Status.RUNNING, lambda job: record_failure(job, RuntimeError("no"))),
    "rescue": (Status.RUNNING, lambda job: rescue(Job.objects.all())),
    "cancel": (Status.RUNNING, lambda job: job.cancel()),
    "restart": (Status.CANCELLED, lambda job: job.restart()),
}


@pytest.mark.parametrize(("status", "verb"), UNREAD.values(), ids=UNREAD.keys())
def test_no_verb_reads_the_errors_of_earlier_attempts(status: str, verb: Callable[[Job], object]) -> None:
    make_job(status, errors=[make_error()] * 3, cancel_requested=True, run_at=timezone.now() - HOUR)
    job = Job.objects.without_history().get()
    with CaptureQueriesContext(connection) as statements:
        verb(job)
    assert statements.captured_queries
    assert not [query["sql"] for query in statements if reads_errors(query["sql"])]
    assert len(row(job)["errors"]) >= 3


def reads_errors(statement: str) -> bool:
    """True if the statement returns errors; an UPDATE may append to them without reading."""
    shown = statement.partition("RETURNING")[2] or (statement.startswith("SELECT") and statement)
    return bool(shown) and ("errors" in shown or "*" in shown)


def put_off_though_cancelled(job: Job, error: AttemptError) -> None:
    Job.objects.filter(pk=job.pk).update(cancel_requested=True)
    job.retry(error, timezone.now())
    assert row(job)["status"] == Status.CANCELLED
