"""The queue's verbs on many rows: what has become due, what has expired, what is pruned, and how attempts end."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from jobs.models import Job
from jobs.models import queryset as queue_module
from jobs.models.ids import new_id
from jobs.models.queryset import delete_in_batches, first_id_at
from jobs.models.states import TERMINAL, WAITING, Status
from tests.support.concurrency import in_threads, locked_elsewhere, until_unlocked
from tests.support.factories import WORKER, make_job, row

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


@pytest.mark.django_db
def test_what_became_due_first_is_queued_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "BATCH", 2)
    now = timezone.now()
    jobs = [make_job(Status.RETRYING, run_at=now - ago * SECOND) for ago in (5, 60, 1, 30)]
    assert Job.objects.queue_due() == 2
    assert [row(job)["status"] == Status.QUEUED for job in jobs] == [False, True, False, True]


@pytest.mark.django_db
@pytest.mark.parametrize("status", sorted(Status))
@pytest.mark.parametrize("ahead", [-SECOND, timedelta(0), 60 * SECOND])
def test_what_is_due_is_queued_when_its_time_has_come_and_not_before(status: str, ahead: timedelta) -> None:
    job = make_job(status, run_at=timezone.now() + ahead - timedelta(milliseconds=2))
    comes = status in {Status.SCHEDULED, Status.RETRYING} and ahead <= timedelta(0)
    assert Job.objects.queue_due() == comes
    assert row(job)["status"] == (Status.QUEUED if comes else status)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks the database, never a row.")
@pytest.mark.django_db(transaction=True)
def test_a_due_job_that_somebody_else_has_locked_is_not_waited_for_and_queued_later() -> None:
    locked, free = (make_job(Status.RETRYING, run_at=timezone.now() - SECOND) for _ in range(2))
    with locked_elsewhere(locked):
        assert Job.objects.queue_due() == 1
    assert [row(job)["status"] for job in (locked, free)] == [Status.RETRYING, Status.QUEUED]
    assert Job.objects.queue_due() == 1


@pytest.mark.django_db
@pytest.mark.parametrize("status", sorted(WAITING | TERMINAL))
def test_only_running_jobs_expire_or_run_somewhere(status: str) -> None:
    make_job(status, worker=WORKER)
    assert not Job.objects.expired().exists()
    assert not Job.objects.running_on(WORKER).exists()


@pytest.mark.django_db
def test_jobs_with_expired_leases_are_listed_longest_expired_first() -> None:
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
    assert sum(Job.objects.prune(Status.SUCCEEDED, now - 2 * DAY)) == 1
    assert set(Job.objects.all()) == {old[Status.FAILED], recent, waiting}


@pytest.mark.django_db
def test_a_job_that_was_made_long_ago_but_ended_just_now_is_kept() -> None:
    now = timezone.now()
    make_job(Status.SUCCEEDED, pk=first_id_at(now - 9 * DAY), finished_at=now)
    assert sum(Job.objects.prune(Status.SUCCEEDED, now - DAY)) == 0


@pytest.mark.django_db
def test_many_rows_are_deleted_a_batch_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "BATCH", 3)
    for _ in range(7):
        make_job()
    kept = make_job(priority=1)
    with CaptureQueriesContext(connection) as statements:
        assert delete_in_batches(Job.objects.filter(priority=0)) == 7
    assert sum(query["sql"].startswith("DELETE") for query in statements) == 3
    assert sum('"id" > ' in query["sql"] for query in statements) == 3  # each batch begins after the one before
    assert list(Job.objects.all()) == [kept]


@given(st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_the_first_id_of_a_moment_begins_with_its_milliseconds(moment: datetime) -> None:
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1)
    assert abs((first_id_at(moment).int >> 80) - milliseconds) <= 1


def test_ids_made_now_are_beyond_the_first_one_of_this_moment_and_before_the_next() -> None:
    before, made, after = timezone.now(), new_id(), timezone.now() + timedelta(milliseconds=1)
    assert first_id_at(before) < made < first_id_at(after + timedelta(milliseconds=1))


@pytest.mark.django_db(transaction=True)
def test_of_two_that_end_the_same_attempt_at_once_one_succeeds() -> None:
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


def make_old_job(status: str, ended: datetime) -> Job:
    return make_job(status, pk=first_id_at(ended - SECOND), finished_at=ended)
