"""The claim: due jobs become running ones under a lease, best first, and no two workers get the same job."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from itertools import groupby
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.brokers import claims
from jobs.brokers.orm import ORM
from jobs.models import Job
from jobs.models.queue.due import MAIN_THREAD
from jobs.models.queue.leases import LEASE
from jobs.models.states import Status
from tests.support.claims import claim_for_pools, claim_jobs, due_jobs, make_claim
from tests.support.concurrency import in_threads, locked_elsewhere, until_unlocked
from tests.support.factories import WORKER, make_job, make_kind, row

SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
MAIL, CALL = "test.mail", "test.call"
needs_row_locks = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="SQLite locks the database, never a row: there is nothing to skip."
)


@pytest.mark.django_db
@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 5)), max_size=12))
def test_jobs_are_claimed_by_priority_and_then_by_age(waiting: list[tuple[int, int]]) -> None:
    Job.objects.all().delete()
    now = timezone.now()
    for priority, age in waiting:
        make_job(priority=priority, run_at=now - age * SECOND)
    claimed = []
    while jobs := claim_jobs(WORKER, limit=2):
        claimed += [(job.priority, (now - job.run_at) // SECOND) for job in jobs]
    assert claimed == sorted(waiting, reverse=True)


@pytest.mark.django_db
@pytest.mark.parametrize("status", sorted(set(Status) - {Status.QUEUED}))
def test_nothing_but_what_waits_and_is_due_is_claimed(status: str) -> None:
    job = make_job(status)
    before = row(job)
    assert claim_jobs(WORKER) == []
    assert row(job) == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("status", [Status.SCHEDULED, Status.RETRYING])
def test_what_has_become_due_is_claimed_without_waiting_for_a_dispatcher(status: str) -> None:
    broker, job = ORM("legwork"), make_job(status, run_at=timezone.now() - SECOND)
    assert broker.claim(WORKER, 1, ()) == [job]
    assert broker.claim(WORKER, 1, ()) == []


@pytest.mark.django_db(transaction=True)
def test_a_busy_worker_looks_for_what_has_become_due_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "QUEUE_DUE_EVERY", HOUR.total_seconds())
    broker = ORM("legwork")
    assert broker.claim(WORKER, 1, ()) == []
    job = make_job(Status.RETRYING, run_at=timezone.now() - SECOND)
    assert broker.claim(WORKER, 1, ()) == []
    later = time.monotonic() + HOUR.total_seconds()
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert broker.claim(WORKER, 1, ()) == [job]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("queues", "taken"),
    [
        (None, {"default", "slow", "mail"}),
        (["slow"], {"slow"}),
        (["slow", "mail"], {"slow", "mail"}),
        (["other"], set()),
    ],
)
def test_a_worker_takes_from_its_own_queues_only(queues: list[str] | None, taken: set[str]) -> None:
    for queue in ("default", "slow", "mail"):
        make_job(queue=queue)
    assert {job.queue for job in claim_jobs(WORKER, limit=10, queues=queues)} == taken


@pytest.mark.django_db
def test_a_claim_begins_an_attempt_under_a_lease() -> None:
    job = make_job(attempt=1, worker="there:2", progress={"percent": 70, "message": "of the attempt before"})
    [claimed] = claim_jobs(WORKER)
    found = row(job)
    assert {name: getattr(claimed, name) for name in found} == found
    assert (found["status"], found["attempt"], found["worker"]) == (Status.RUNNING, 2, WORKER)
    assert found["progress"] == {"percent": 0, "message": ""}
    assert abs(found["started_at"] - timezone.now()) < HOUR
    assert abs(found["lease_expires_at"] - found["started_at"] - LEASE) < SECOND


@pytest.mark.django_db
def test_a_claim_takes_no_more_than_asked_for() -> None:
    for _ in range(5):
        make_job()
    assert len(claim_jobs(WORKER, limit=3)) == 3
    assert len(claim_jobs(WORKER)) == 1
    assert due_jobs().count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("limit", [1, 100])
def test_an_idle_worker_executes_one_query_and_begins_no_transaction(limit: int, django_assert_num_queries) -> None:
    make_job(Status.SCHEDULED)
    with django_assert_num_queries(1):
        assert claim_jobs(WORKER, limit=limit) == []


@needs_row_locks
@pytest.mark.django_db
def test_one_job_is_claimed_in_one_statement(django_assert_num_queries) -> None:
    make_job(priority=0)
    best = make_job(priority=1)
    with django_assert_num_queries(1):
        assert claim_jobs(WORKER) == [best]


def test_a_filtered_queryset_cannot_claim() -> None:
    """Statements are built once: the filter would apply to all later claims as well."""
    with pytest.raises(TypeError, match="from all jobs"):
        Job.objects.filter(kind="demo.countdown").claim(make_claim(WORKER))


@pytest.mark.django_db
def test_a_claim_by_age_takes_what_has_waited_longest_whatever_its_priority() -> None:
    now = timezone.now()
    urgent = make_job(priority=9, run_at=now - 2 * HOUR)
    neglected = make_job(priority=-9, run_at=now - 3 * HOUR, queue="slow")
    make_job(priority=-9, run_at=now - HOUR / 2)
    assert claim_jobs(WORKER, by_age=HOUR, queues=["default"]) == [urgent]
    assert claim_jobs(WORKER, by_age=HOUR) == [neglected]
    assert claim_jobs(WORKER, by_age=HOUR) == []


@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_at_the_same_moment_get_different_jobs() -> None:
    made = {make_job(priority=number % 3).pk for number in range(30)}
    claimed: dict[str, list[Job]] = {}
    together = threading.Barrier(3)

    def work(name: str) -> None:
        together.wait()
        claimed[name] = claim_everything(name)

    in_threads(*[lambda name=f"here:{number}": work(name) for number in range(3)])

    taken = [job.pk for jobs in claimed.values() for job in jobs]
    assert len(taken) == len(set(taken))
    assert set(taken) == made
    for name, jobs in groupby(Job.objects.order_by("worker"), key=lambda job: job.worker):
        assert {job.pk for job in jobs} == {job.pk for job in claimed[name]}
    assert {job.attempt for job in Job.objects.all()} == {1}


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_a_row_that_another_transaction_has_locked_is_passed_over_and_not_waited_for() -> None:
    best, second, third = [make_job(priority=priority) for priority in (2, 1, 0)]
    with locked_elsewhere(best):
        assert claim_jobs(WORKER, limit=2) == [second, third]
        assert claim_jobs(WORKER) == []
    assert claim_jobs(WORKER) == [best]


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_a_claim_locks_no_more_jobs_than_it_takes() -> None:
    jobs = [make_job(priority=-number) for number in range(3)]
    elsewhere: list[Job] = []

    def claim_elsewhere_after_the_lock(execute, sql, *rest):
        done = execute(sql, *rest)
        if "FOR UPDATE" in sql:
            in_threads(lambda: elsewhere.extend(claim_jobs("there:2")))
        return done

    with connection.execute_wrapper(claim_elsewhere_after_the_lock):
        here = claim_jobs(WORKER, limit=32, short=())
    assert (here, elsewhere) == (jobs[:1], jobs[1:2])


@pytest.mark.django_db
@pytest.mark.parametrize("limit", [1, 10])
@pytest.mark.parametrize("by_age", [False, True])
def test_kinds_that_are_not_named_are_left_for_workers_that_know_them(limit: int, by_age: bool) -> None:
    """So that during a rolling deployment no attempt fails for a kind that this release does not have."""
    unknown = make_job(kind="test.new", priority=5, run_at=timezone.now() - HOUR)
    known = make_job(kind="test.old", run_at=timezone.now() - HOUR)
    kinds = ("test.old", "test.other")
    assert claim_jobs(WORKER, limit=limit, kinds=kinds, by_age=by_age) == [known]
    assert claim_jobs(WORKER, limit=limit, kinds=kinds, by_age=by_age) == []
    assert claim_jobs(WORKER, limit=limit, by_age=by_age) == [unknown]


@pytest.mark.django_db(transaction=True)
def test_a_broker_claims_no_job_of_a_kind_that_its_process_does_not_know() -> None:
    broker, known = ORM("legwork"), make_job()
    unknown = make_job(kind="test.of_another_release", priority=5)
    assert broker.claim(WORKER, 10, ()) == [known]
    assert broker.claim(WORKER, 10, ()) == []
    assert row(unknown)["status"] == Status.QUEUED


@pytest.mark.django_db
@pytest.mark.parametrize("limit", [1, 10])
def test_jobs_of_pools_are_left_to_claims_for_pools(limit: int) -> None:
    make_pooled(MAIL, priority=9)
    job = make_job()
    assert claim_jobs(WORKER, limit=limit) == [job]
    assert claim_jobs(WORKER, limit=limit) == []


def make_pooled(kind: str, **fields: Any) -> Job:
    return make_job(kind=kind, pool=kind, params={}, **fields)


@pytest.mark.django_db
def test_each_pool_gets_as_many_jobs_as_it_has_free_threads() -> None:
    mails = [make_pooled(MAIL, priority=-number) for number in range(4)]
    calls = [make_pooled(CALL, priority=-number) for number in range(2)]
    make_job(priority=9)
    claimed = claim_for_pools(WORKER, {MAIL: 3, CALL: 5})
    assert sorted(claimed, key=lambda job: job.pk) == sorted(mails[:3] + calls, key=lambda job: job.pk)
    assert {row(job)["status"] for job in claimed} == {Status.RUNNING}


@pytest.mark.django_db
def test_a_pool_without_free_threads_gets_nothing() -> None:
    make_pooled(MAIL)
    call = make_pooled(CALL)
    assert claim_for_pools(WORKER, {CALL: 1}) == [call]
    assert claim_for_pools(WORKER, {}) == []


@pytest.mark.django_db
@settings(max_examples=20)
@given(st.lists(st.tuples(st.integers(-2, 2), st.integers(0, 5)), max_size=12))
def test_jobs_of_a_pool_are_claimed_by_priority_and_then_by_age(waiting: list[tuple[int, int]]) -> None:
    Job.objects.all().delete()
    now = timezone.now()
    for priority, age in waiting:
        make_pooled(MAIL, priority=priority, run_at=now - age * SECOND)
    claimed = []
    while jobs := claim_for_pools(WORKER, {MAIL: 1}):
        claimed += [(job.priority, (now - job.run_at) // SECOND) for job in jobs]
    assert claimed == sorted(waiting, reverse=True)


@pytest.mark.django_db
def test_a_claim_for_pools_begins_an_attempt_under_a_lease() -> None:
    job = make_pooled(MAIL, attempt=1, worker="there:2", progress={"percent": 70, "message": "of the attempt before"})
    [claimed] = claim_for_pools(WORKER, {MAIL: 9})
    found = row(job)
    assert {name: getattr(claimed, name) for name in found} == found
    assert (found["status"], found["attempt"], found["worker"]) == (Status.RUNNING, 2, WORKER)
    assert found["progress"] == {"percent": 0, "message": ""}
    assert abs(found["lease_expires_at"] - found["started_at"] - LEASE) < SECOND


@pytest.mark.django_db
@pytest.mark.parametrize("status", sorted(set(Status) - {Status.QUEUED}))
def test_nothing_but_what_waits_and_is_due_is_claimed_for_pools(status: str) -> None:
    job = make_pooled(MAIL, status=status)
    before = row(job)
    assert claim_for_pools(WORKER, {MAIL: 1}) == []
    assert row(job) == before


@pytest.mark.django_db
@pytest.mark.parametrize("by_age", [False, True])
def test_pools_of_a_cluster_that_serves_one_queue_get_jobs_of_that_queue_only(by_age: bool) -> None:
    fields = {"run_at": timezone.now() - HOUR}
    ours = make_pooled(MAIL, queue="mail", **fields)
    others = make_pooled(MAIL, queue="slow", priority=9, **fields)
    assert claim_for_pools(WORKER, {MAIL: 5}, queue="mail", by_age=by_age) == [ours]
    assert claim_for_pools(WORKER, {MAIL: 5}, queue="mail", by_age=by_age) == []
    assert claim_for_pools(WORKER, {MAIL: 5}, by_age=by_age) == [others]


@pytest.mark.django_db
def test_a_claim_for_pools_by_age_takes_what_has_waited_longest() -> None:
    now = timezone.now()
    make_pooled(MAIL, priority=9, run_at=now - 2 * HOUR)
    neglected = make_pooled(MAIL, priority=-9, run_at=now - 3 * HOUR)
    make_pooled(CALL, priority=-9, run_at=now - HOUR / 2)
    assert claim_for_pools(WORKER, {MAIL: 1, CALL: 1}, by_age=HOUR) == [neglected]


@needs_row_locks
@pytest.mark.django_db
def test_a_claim_for_many_pools_is_one_statement(django_assert_num_queries: Callable[[int], Any]) -> None:
    for kind in (MAIL, CALL):
        make_pooled(kind)
    with django_assert_num_queries(1):
        assert len(claim_for_pools(WORKER, {MAIL: 20, CALL: 20, "test.none": 20})) == 2
    with django_assert_num_queries(1):
        assert claim_for_pools(WORKER, {MAIL: 20, CALL: 20}) == []


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_a_claim_for_pools_passes_over_a_row_that_another_transaction_has_locked() -> None:
    best, second = [make_pooled(MAIL, priority=priority) for priority in (2, 1)]
    with locked_elsewhere(best):
        assert claim_for_pools(WORKER, {MAIL: 1}) == [second]
        assert claim_for_pools(WORKER, {MAIL: 1}) == []
    assert claim_for_pools(WORKER, {MAIL: 1}) == [best]


@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_for_pools_at_the_same_moment_get_different_jobs() -> None:
    made = {make_pooled(kind).pk for kind in (MAIL, CALL) for _ in range(15)}
    taken: list[Any] = []
    together = threading.Barrier(3)

    def work(name: str) -> None:
        together.wait()
        while jobs := until_unlocked(lambda: claim_for_pools(name, {MAIL: 2, CALL: 1})):
            taken.extend(job.pk for job in jobs)

    in_threads(*[lambda name=f"here:{number}": work(name) for number in range(3)])
    assert sorted(taken) == sorted(made)


@pytest.mark.django_db(transaction=True)
def test_every_so_often_a_broker_claims_for_pools_what_has_waited_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, MAIL, threads=1)
    neglected = make_pooled(MAIL, priority=-9, run_at=timezone.now() - HOUR)
    for _ in range(claims.OLDEST_FIRST_EVERY):
        make_pooled(MAIL)
    broker = ORM("legwork")
    claimed = [broker.claim_for_pools(WORKER, {MAIL: 1}) for _ in range(claims.OLDEST_FIRST_EVERY)]
    assert [job == [neglected] for job in claimed] == [False] * (claims.OLDEST_FIRST_EVERY - 1) + [True]


@pytest.mark.django_db(transaction=True)
def test_claims_that_find_nothing_do_not_bring_a_claim_by_age_nearer() -> None:
    broker = ORM("legwork")
    for _ in range(claims.OLDEST_FIRST_EVERY - 1):
        assert broker.claim(WORKER, 1, ()) == []
    make_job(priority=-9, run_at=timezone.now() - HOUR)
    best = make_job()
    assert broker.claim(WORKER, 1, ()) == [best]


@pytest.mark.django_db
def test_the_first_due_job_is_that_of_any_of_the_pools_and_queues_asked_for() -> None:
    assert Job.objects.first_due([MAIL, CALL]) is None
    call, main = make_pooled(CALL, queue="calls"), make_job()
    assert Job.objects.first_due([MAIN_THREAD]) == main.pk
    assert Job.objects.first_due([MAIL, CALL]) == call.pk
    assert Job.objects.first_due([MAIL, CALL], ["calls"]) == call.pk
    assert Job.objects.first_due([MAIL, CALL], ["mail"]) is None
    assert Job.objects.first_due([]) is None


def claim_everything(worker: str) -> list[Job]:
    taken: list[Job] = []
    while jobs := until_unlocked(lambda: claim_jobs(worker, limit=2)):
        taken += jobs
    return taken
