"""Both implementations of the queue's statements do the same: one statement on PostgreSQL, the ORM on any database."""

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils import timezone
from structlog.testing import capture_logs

from jobs.models import Job
from jobs.models.queue import sql, sql_portable
from jobs.models.queue.due import STARVED_AFTER
from jobs.models.queue.leases import LEASE
from jobs.models.queue.sql_portable import Portable
from jobs.models.queue.sql_postgresql import PostgreSQL
from jobs.models.states import Status
from tests.support.claims import claim_for_pools, claim_jobs
from tests.support.factories import WORKER, make_job, row

pytestmark = pytest.mark.django_db(transaction=True)

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
MAIL, CALL = "test.mail", "test.call"
needs_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="Its statements are PostgreSQL's.")


@pytest.fixture(params=[Portable(), pytest.param(PostgreSQL(), marks=needs_postgresql)], ids=["portable", "postgresql"])
def statements(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Portable:
    """The queue uses this implementation, on any database."""
    monkeypatch.setattr(sql, "sql_for", lambda alias: request.param)
    chosen: Portable = request.param
    return chosen


@pytest.fixture
def portable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "sql_for", lambda alias: Portable())


def make_pooled(kind: str, **fields: Any) -> Job:
    return make_job(kind=kind, pool=kind, **fields)


def assert_claimed(job: Job, attempt: int) -> None:
    found = row(job)
    assert (found["status"], found["attempt"], found["worker"]) == (Status.RUNNING, attempt, WORKER)
    assert found["progress"] == {"percent": 0, "message": ""}
    assert abs(found["lease_expires_at"] - found["started_at"] - LEASE) < SECOND
    assert {name: getattr(job, name) for name in found} == found


@pytest.mark.parametrize("limit", [1, 2, 10])
def test_a_claim_takes_the_best_and_begins_their_attempts(statements: Portable, limit: int) -> None:
    for priority in (1, 3, 2):
        make_job(priority=priority, attempt=priority, worker="there:2", progress={"percent": 7, "message": "old"})
    claimed = claim_jobs(WORKER, limit=limit)
    assert [job.priority for job in claimed] == [3, 2, 1][:limit]
    for job in claimed:
        assert_claimed(job, job.priority + 1)


@pytest.mark.parametrize("limit", [1, 10])
def test_a_claim_keeps_to_its_queues_kinds_and_pool(statements: Portable, limit: int) -> None:
    wanted = make_job(queue="slow", priority=-1)
    make_job()
    make_job(queue="slow", kind="test.other")
    make_pooled(MAIL, queue="slow")
    assert claim_jobs(WORKER, limit=limit, queues=["slow"], kinds=[wanted.kind]) == [wanted]
    assert claim_jobs(WORKER, limit=limit, queues=["slow"], kinds=[wanted.kind]) == []


@pytest.mark.parametrize("limit", [1, 10])
def test_a_claim_by_age_takes_jobs_that_have_waited_too_long_oldest_first(statements: Portable, limit: int) -> None:
    now = timezone.now()
    oldest, old = [make_job(priority=-9, run_at=now - age * STARVED_AFTER) for age in (3, 2)]
    make_job(priority=9, run_at=now - STARVED_AFTER / 2)
    assert claim_jobs(WORKER, limit=limit, by_age=True) == [oldest, old][:limit]


@pytest.mark.parametrize("by_age", [False, True])
@pytest.mark.parametrize("lone", [{"attempt": 1}, {"max_attempts": 1}, {"kind": "test.long"}])
def test_of_a_batch_only_those_that_may_be_together_are_claimed(
    statements: Portable, lone: dict[str, Any], by_age: bool
) -> None:
    best = timezone.now() - HOUR
    jobs = [make_job(run_at=best + number * SECOND, **fields) for number, fields in enumerate(({}, {}, lone, {}))]
    claim = partial(claim_jobs, WORKER, limit=9, short=[jobs[0].kind], by_age=by_age)
    assert claim() == jobs[:2]
    assert claim() == jobs[2:3]
    assert claim() == jobs[3:]


def test_a_batch_is_in_the_order_of_the_queue(statements: Portable) -> None:
    now = timezone.now()
    places = [(1, -2), (2, -1), (1, -3), (2, -4), (3, -1)]
    jobs = [make_job(priority=priority, run_at=now + seconds * SECOND) for priority, seconds in places]
    assert claim_jobs(WORKER, limit=9, short=[jobs[0].kind]) == [jobs[place] for place in (4, 3, 1, 2, 0)]


@pytest.mark.parametrize("by_age", [False, True])
@pytest.mark.parametrize("queue", [None, "slow"])
def test_each_pool_gets_the_first_of_its_jobs(statements: Portable, queue: str | None, by_age: bool) -> None:
    now = timezone.now()
    for kind in (MAIL, CALL, "test.none"):
        for priority in (1, 2, 3):
            make_pooled(kind, priority=priority, queue="slow", run_at=now - HOUR - priority * SECOND)
    make_pooled(MAIL, priority=9, queue="other", run_at=now - 2 * HOUR)
    claimed = claim_for_pools(WORKER, {MAIL: 2, CALL: 1}, queue=queue, by_age=by_age)
    of_mail = [3, 2] if queue else [9, 3]
    assert sorted((job.kind, job.priority) for job in claimed) == sorted(
        [(CALL, 3), *((MAIL, priority) for priority in of_mail)]
    )
    for job in claimed:
        assert_claimed(job, 1)


def without_version(row: dict[str, Any]) -> dict[str, Any]:
    """The row without its version, which PostgreSQL sets."""
    return {name: value for name, value in row.items() if name != "version"}


def test_a_job_is_inserted_as_it_is(statements: Portable) -> None:
    params = {"text": "%s ü", "list": [1, None, {"a": 0.5}]}
    job = Job(kind="test.kind", timeout=7, params=params, unique_key="x", run_at=timezone.now())
    Job.objects.insert([job])
    found = without_version(row(job))
    assert {name: getattr(job, name) for name in found} == found
    assert not job._state.adding
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.insert([Job(pk=job.pk, kind="test.kind", timeout=7)])


def test_copies_of_a_job_are_inserted_like_it(statements: Portable) -> None:
    template = Job(kind="test.kind", timeout=7, priority=3, backoff={"attempts": 2}, run_at=timezone.now())
    copies = [template.copy({"number": number}) for number in range(3)]
    Job.objects.insert(copies)
    assert [(job.pk, job.params) for job in Job.objects.order_by("pk")] == [(job.pk, job.params) for job in copies]
    fields = {field.name for field in Job._meta.concrete_fields} - {"id", "params", "version"}
    for job in Job.objects.all():
        assert {name: getattr(job, name) for name in fields} == {name: getattr(template, name) for name in fields}


def test_only_attempts_whose_lease_is_held_succeed(statements: Portable) -> None:
    held, lost = make_job("running", worker=WORKER), make_job("running", worker=WORKER)
    Job.objects.filter(pk=lost.pk).update(attempt=lost.attempt + 1)
    held.progress = {"percent": 5, "message": "so far"}
    Job.objects.succeed_many(WORKER, [(held, {"rows": 2}), (lost, None)])
    found = row(held)
    assert (found["status"], found["result"], found["lease_expires_at"]) == (Status.SUCCEEDED, {"rows": 2}, None)
    assert found["progress"] == {"percent": 100, "message": "so far"}
    assert found["finished_at"]
    assert row(lost)["status"] == Status.RUNNING


@pytest.mark.usefixtures("statements")
def test_a_job_that_succeeds_logs_one_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    make_job(run_at=timezone.now() - HOUR)
    [job] = claim_jobs(WORKER)
    with capture_logs() as logs:
        Job.objects.succeed_many(WORKER, [(job, 42)])
    [event] = logs
    [line] = event["each"]
    assert (event["event"], line["job_id"], line["kind"]) == ("job_finished", str(job.pk), job.kind)
    assert (line["attempt"], line["status"], line["worker"]) == (1, Status.SUCCEEDED, WORKER)
    assert round(line["waited"]) == HOUR.total_seconds()
    assert 0 <= line["ran"] < HOUR.total_seconds()


def test_a_renewal_writes_progress_and_tells_what_is_cancelled_and_lost(statements: Portable) -> None:
    held, cancelled, lost = [
        make_job("running", worker=WORKER, lease_expires_at=timezone.now() - HOUR) for _ in range(3)
    ]
    Job.objects.filter(pk=cancelled.pk).update(cancel_requested=True)
    Job.objects.filter(pk=lost.pk).update(worker="there:2")
    held.progress = {"percent": 50, "message": "half"}
    renewal = Job.objects.renew_leases(WORKER, [held, cancelled, lost])
    assert (renewal.cancelled, renewal.lost) == ({cancelled.pk}, {lost.pk})
    assert row(held)["progress"] == held.progress
    for job in (held, cancelled):
        assert row(job)["lease_expires_at"] > timezone.now()
    assert row(lost)["lease_expires_at"] < timezone.now()


def test_progress_is_shown_without_renewing_the_lease(statements: Portable) -> None:
    job = make_job("running", worker=WORKER)
    before = row(job)
    job.progress = {"percent": 50, "message": "half"}
    Job.objects.show_progress(WORKER, [job])
    assert row(job) == before | {"progress": job.progress, "version": row(job)["version"]}
    assert row(job)["version"] > before["version"]


def test_what_is_due_is_queued(statements: Portable) -> None:
    due = [make_job(status, run_at=timezone.now() - SECOND) for status in ("scheduled", "retrying")]
    later = make_job("scheduled", run_at=timezone.now() + HOUR)
    assert Job.objects.queue_due() == 2
    assert {row(job)["status"] for job in due} == {Status.QUEUED}
    assert row(later)["status"] == Status.SCHEDULED


@pytest.mark.usefixtures("portable")
def test_an_error_with_one_pool_leaves_nothing_claimed_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would run it, and its attempt would be lost with its lease."""
    jobs, claim = [make_pooled(kind) for kind in (MAIL, CALL)], sql_portable._lock_and_claim

    def claim_once(*given: Any) -> list[Job]:
        if Job.objects.running_on(WORKER).exists():
            raise OperationalError("database is locked")
        return claim(*given)

    monkeypatch.setattr(sql_portable, "_lock_and_claim", claim_once)
    with pytest.raises(OperationalError):
        claim_for_pools(WORKER, {MAIL: 1, CALL: 1})
    assert [row(job)["attempt"] for job in jobs] == [0, 0]


@pytest.mark.usefixtures("portable")
def test_an_idle_worker_with_pools_begins_no_transaction(django_assert_num_queries: Callable[[int], Any]) -> None:
    with django_assert_num_queries(2):
        assert claim_for_pools(WORKER, {MAIL: 1, CALL: 1}) == []


@pytest.mark.usefixtures("portable")
@pytest.mark.parametrize("limit", [1, 10])
def test_a_claim_that_finds_nothing_is_one_query_without_a_transaction(
    limit: int, django_assert_num_queries: Callable[[int], Any]
) -> None:
    with django_assert_num_queries(1):
        assert claim_jobs(WORKER, limit=limit) == []


def test_each_of_many_jobs_is_inserted_as_it_is(statements: Portable) -> None:
    hard = {'"\\{},\n': ["ü\u2028", "NULL", "", None, 1.5, {}]}
    jobs = [
        Job(kind="test.kind", timeout=60, params=hard, unique_key=key, priority=-7) for key in (None, "NULL", '"\\')
    ]
    Job.objects.insert(jobs)
    for job in jobs:
        found = without_version(row(job))
        assert {name: getattr(job, name) for name in found} == found
