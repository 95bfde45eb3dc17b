"""The queue's verbs on many rows: what is due, in which order, and that no two workers get the same job."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import groupby

import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs import queue as queue_module
from jobs.brokers import claims
from jobs.brokers.orm import ORM
from jobs.ids import new_id
from jobs.models import Job
from jobs.queue import LEASE, JobQuerySet, delete_in_batches, first_id_at
from jobs.states import TERMINAL, WAITING, Status
from tests.make import WORKER, make_job, row
from tests.patience import PATIENCE

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)
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
    while jobs := Job.objects.claim(WORKER, limit=2):
        claimed += [(job.priority, (now - job.run_at) // SECOND) for job in jobs]
    assert claimed == sorted(waiting, reverse=True)


@pytest.mark.django_db
@pytest.mark.parametrize("status", sorted(set(Status) - {Status.QUEUED}))
def test_nothing_but_what_waits_and_is_due_is_claimed(status: str) -> None:
    job = make_job(status)
    before = row(job)
    assert Job.objects.claim(WORKER) == []
    assert row(job) == before


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("status", [Status.SCHEDULED, Status.RETRYING])
def test_what_has_become_due_is_claimed_without_waiting_for_a_housekeeper(status: str) -> None:
    broker, job = ORM("legwork"), make_job(status, run_at=timezone.now() - SECOND)
    assert broker.claim(WORKER, 1, alone) == [job]
    assert broker.claim(WORKER, 1, alone) == []


@pytest.mark.django_db(transaction=True)
def test_a_busy_worker_looks_for_what_has_become_due_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "LOOK_EVERY", HOUR.total_seconds())
    broker = ORM("legwork")
    assert broker.claim(WORKER, 1, alone) == []
    job = make_job(Status.RETRYING, run_at=timezone.now() - SECOND)
    assert broker.claim(WORKER, 1, alone) == []
    later = time.monotonic() + HOUR.total_seconds()
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert broker.claim(WORKER, 1, alone) == [job]


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
    assert {job.queue for job in Job.objects.claim(WORKER, limit=10, queues=queues)} == taken


@pytest.mark.django_db
def test_a_claim_begins_an_attempt_under_a_lease() -> None:
    job = make_job(attempt=1, worker="there:2", progress={"percent": 70, "message": "of the attempt before"})
    [claimed] = Job.objects.claim(WORKER)
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
    assert len(Job.objects.claim(WORKER, limit=3)) == 3
    assert len(Job.objects.claim(WORKER)) == 1
    assert Job.objects.due().count() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("limit", [1, 100])
def test_an_idle_worker_asks_one_question_and_begins_no_transaction(limit: int, django_assert_num_queries) -> None:
    make_job(Status.SCHEDULED)
    with django_assert_num_queries(1):
        assert Job.objects.claim(WORKER, limit=limit) == []


@needs_row_locks
@pytest.mark.django_db
def test_one_job_is_claimed_in_one_statement(django_assert_num_queries) -> None:
    make_job(priority=0)
    best = make_job(priority=1)
    with django_assert_num_queries(1):
        assert Job.objects.claim(WORKER) == [best]


def test_no_filter_says_what_may_be_claimed() -> None:
    """It would be kept for all claims that come after this one."""
    with pytest.raises(TypeError, match="from all jobs"):
        Job.objects.filter(kind="demo.countdown").claim(WORKER)


@needs_row_locks
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rows", "index"),
    [
        (Job.objects.due(), "job_due"),
        (Job.objects.due(["default"]), "job_due_in_queue"),
        (Job.objects.due(["default", "mail"]), "job_due"),
        (Job.objects.longest_waiting(), "job_longest_waiting"),
        (Job.objects.longest_waiting(["default"]), "job_longest_waiting"),
    ],
)
def test_what_is_due_is_read_in_the_order_of_its_index_though_statistics_know_of_nothing(
    rows: JobQuerySet, index: str
) -> None:
    Job.objects.insert_alike(Job(kind="demo.countdown", timeout=1), [(new_id(), {}) for _ in range(1000)])
    Job.objects.update(status=Status.CANCELLED, finished_at=timezone.now())
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE jobs_job")
    Job.objects.insert_alike(Job(kind="demo.countdown", timeout=1), [(new_id(), {}) for _ in range(1000)])
    plan = rows[:2].explain()
    assert f"using {index} " in plan
    assert "Sort" not in plan


@pytest.mark.django_db
def test_what_became_due_first_is_queued_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "BATCH", 2)
    now = timezone.now()
    jobs = [make_job(Status.RETRYING, run_at=now - ago * SECOND) for ago in (5, 60, 1, 30)]
    assert Job.objects.queue_what_is_due() == 2
    assert [row(job)["status"] == Status.QUEUED for job in jobs] == [False, True, False, True]


@pytest.mark.django_db
def test_a_claim_by_age_takes_what_has_waited_longest_whatever_its_priority(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "PATIENCE", HOUR)
    now = timezone.now()
    urgent = make_job(priority=9, run_at=now - 2 * HOUR)
    neglected = make_job(priority=-9, run_at=now - 3 * HOUR, queue="slow")
    make_job(priority=-9, run_at=now - HOUR / 2)
    assert Job.objects.claim(WORKER, by_age=True, queues=["default"]) == [urgent]
    assert Job.objects.claim(WORKER, by_age=True) == [neglected]
    assert Job.objects.claim(WORKER, by_age=True) == []


@pytest.mark.django_db
@pytest.mark.parametrize("status", sorted(Status))
@pytest.mark.parametrize("ahead", [-SECOND, timedelta(0), 60 * SECOND])
def test_what_is_due_is_queued_when_its_time_has_come_and_not_before(status: str, ahead: timedelta) -> None:
    job = make_job(status, run_at=timezone.now() + ahead - timedelta(milliseconds=2))
    comes = status in {Status.SCHEDULED, Status.RETRYING} and ahead <= timedelta(0)
    assert Job.objects.queue_what_is_due() == comes
    assert row(job)["status"] == (Status.QUEUED if comes else status)


@pytest.mark.django_db
@pytest.mark.parametrize("status", sorted(WAITING | TERMINAL))
def test_only_running_jobs_expire_or_run_somewhere(status: str) -> None:
    make_job(status, worker=WORKER)
    assert not Job.objects.expired().exists()
    assert not Job.objects.running_on(WORKER).exists()


@pytest.mark.django_db
def test_expired_are_those_whose_lease_is_over_the_longest_first() -> None:
    now = timezone.now()
    late, later, _alive = [make_job(Status.RUNNING, lease_expires_at=now + wait * SECOND) for wait in (-5, -60, 600)]
    assert list(Job.objects.expired()) == [later, late]


@pytest.mark.django_db
def test_the_jobs_on_a_worker_are_those_that_it_runs_and_no_others() -> None:
    mine = make_job(Status.RUNNING, worker="here:1")
    make_job(Status.RUNNING, worker="here:11")
    make_job(Status.SUCCEEDED, worker="here:1")
    assert list(Job.objects.running_on("here:1")) == [mine]


@pytest.mark.django_db
@pytest.mark.parametrize("status", Status)
def test_unfinished_is_what_is_still_to_be_done(status: str) -> None:
    make_job(status)
    assert Job.objects.unfinished().exists() == (status not in TERMINAL)


@pytest.mark.django_db
def test_what_ended_long_ago_is_pruned_and_nothing_else() -> None:
    now = timezone.now()
    ended = {Status.SUCCEEDED: 3 * DAY, Status.FAILED: 4 * DAY}
    old = {status: make_old_job(status, now - age) for status, age in ended.items()}
    recent = make_old_job(Status.SUCCEEDED, now - DAY)
    waiting = make_job(Status.QUEUED, pk=first_id_at(now - 9 * DAY))
    assert Job.objects.prune(Status.SUCCEEDED, now - 2 * DAY) == 1
    assert set(Job.objects.all()) == {old[Status.FAILED], recent, waiting}


@pytest.mark.django_db
def test_a_job_that_was_made_long_ago_but_ended_just_now_is_kept() -> None:
    now = timezone.now()
    make_job(Status.SUCCEEDED, pk=first_id_at(now - 9 * DAY), finished_at=now)
    assert Job.objects.prune(Status.SUCCEEDED, now - DAY) == 0


@pytest.mark.django_db
def test_many_rows_are_deleted_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "BATCH", 3)
    for _ in range(7):
        make_job()
    kept = make_job(priority=1)
    with CaptureQueriesContext(connection) as statements:
        assert delete_in_batches(Job.objects.filter(priority=0)) == 7
    assert sum(query["sql"].startswith("DELETE") for query in statements) == 3
    assert list(Job.objects.all()) == [kept]


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_the_first_id_of_a_moment_is_its_milliseconds(moment: datetime) -> None:
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)
    assert abs((first_id_at(moment).int >> 80) - milliseconds) <= 1


def test_ids_made_now_are_beyond_the_first_one_of_this_moment_and_before_the_next() -> None:
    before, made, after = timezone.now(), new_id(), timezone.now() + timedelta(milliseconds=1)
    assert first_id_at(before) < made < first_id_at(after + timedelta(milliseconds=1))


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
        assert Job.objects.claim(WORKER, limit=2) == [second, third]
        assert Job.objects.claim(WORKER) == []
    assert Job.objects.claim(WORKER) == [best]


@needs_row_locks
@pytest.mark.django_db(transaction=True)
def test_who_could_take_many_and_takes_one_leaves_the_others_to_others_all_the_while() -> None:
    jobs = [make_job(priority=-number) for number in range(3)]
    elsewhere: list[Job] = []

    def claim_elsewhere_after_the_lock(execute, sql, *rest):
        done = execute(sql, *rest)
        if "FOR UPDATE" in sql:
            in_threads(lambda: elsewhere.extend(Job.objects.claim("there:2")))
        return done

    with connection.execute_wrapper(claim_elsewhere_after_the_lock):
        here = Job.objects.claim(WORKER, limit=32, may_follow=alone)
    assert (here, elsewhere) == (jobs[:1], jobs[1:2])


@pytest.mark.django_db(transaction=True)
def test_two_who_end_the_same_attempt_at_once_end_it_once() -> None:
    job = make_job(Status.RUNNING)
    together, ended = threading.Barrier(2), []

    def end(result: str) -> None:
        mine = Job.objects.get(pk=job.pk)
        together.wait()
        try:
            until_unlocked(lambda: mine.succeed(result))
        except Exception as error:
            ended.append(type(error).__name__)
        else:
            ended.append(result)

    in_threads(lambda: end("a"), lambda: end("b"))

    assert sorted(ended) in [["LeaseLost", "a"], ["LeaseLost", "b"]]
    assert row(job)["result"] in ended


def alone(*about_a_candidate: object) -> bool:
    """Nothing may be claimed with others."""
    return False


def make_old_job(status: str, ended: datetime) -> Job:
    return make_job(status, pk=first_id_at(ended - SECOND), finished_at=ended)


def claim_everything(worker: str) -> list[Job]:
    taken: list[Job] = []
    while jobs := until_unlocked(lambda: Job.objects.claim(worker, limit=2)):
        taken += jobs
    return taken


def until_unlocked(action):
    """SQLite in memory refuses at once where it would wait in a file; a worker would try again as well."""
    while True:
        try:
            return action()
        except OperationalError as error:
            if "locked" not in str(error):
                raise


def in_threads(*actions) -> None:
    threads = [threading.Thread(target=lambda action=action: and_disconnect(action)) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def and_disconnect(action) -> None:
    try:
        action()
    finally:
        connections.close_all()


@contextmanager
def locked_elsewhere(job: Job) -> Iterator[None]:
    locked, enough = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            Job.objects.select_for_update().get(pk=job.pk)
            locked.set()
            enough.wait(PATIENCE)

    thread = threading.Thread(target=lambda: and_disconnect(hold))
    thread.start()
    assert locked.wait(PATIENCE)
    try:
        yield
    finally:
        enough.set()
        thread.join()
