"""Leases are renewed and progress is shown in one statement for all jobs of a worker, and only where it holds them."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from jobs.models import Job
from jobs.models.ids import new_id
from jobs.models.queue.leases import LEASE, Renewal
from jobs.models.states import Status
from tests.support.concurrency import locked_elsewhere
from tests.support.factories import WORKER, make_job, row

pytestmark = pytest.mark.django_db

SOON_OVER = timedelta(seconds=1)
HALF = {"percent": 50, "message": 'half: 50 % of "ü"'}
NOTHING: set[Any] = set()
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one statement for each job.")
LOSSES = [
    {"worker": "there:2"},
    {"attempt": 2},
    {"status": Status.QUEUED, "lease_expires_at": None, "worker": ""},
    {"status": Status.SUCCEEDED, "lease_expires_at": None, "finished_at": timezone.now()},
]


def make_held(**fields: Any) -> Job:
    return make_job(Status.RUNNING, lease_expires_at=timezone.now() + SOON_OVER, **fields)


def is_renewed(job: Job) -> bool:
    expires_at = row(job)["lease_expires_at"]
    return expires_at is not None and expires_at > timezone.now() + LEASE / 2


def test_leases_are_renewed_and_progress_is_shown() -> None:
    jobs = [make_held(), make_held()]
    jobs[0].progress = HALF
    assert Job.objects.renew_leases(WORKER, jobs) == Renewal(cancelled=NOTHING, lost=NOTHING)
    assert [is_renewed(job) for job in jobs] == [True, True]
    assert [row(job)["progress"] for job in jobs] == [HALF, {"percent": 0, "message": ""}]


@on_postgresql
def test_any_number_of_leases_is_renewed_in_one_statement(django_assert_num_queries: Any) -> None:
    jobs = [make_held() for _ in range(150)]
    with django_assert_num_queries(1):
        Job.objects.renew_leases(WORKER, jobs)
    assert all(is_renewed(job) for job in jobs)


def test_a_lease_that_has_expired_but_was_not_taken_away_can_be_renewed() -> None:
    job = make_job(Status.RUNNING, lease_expires_at=timezone.now() - timedelta(hours=1))
    assert Job.objects.renew_leases(WORKER, [job]) == Renewal(NOTHING, NOTHING)
    assert not Job.objects.expired().exists()


def test_renewing_no_jobs_does_nothing() -> None:
    assert Job.objects.renew_leases(WORKER, []) == Renewal(NOTHING, NOTHING)


def test_a_renewal_says_which_cancellations_were_asked_for() -> None:
    wanted, unwanted = make_held(), make_held(cancel_requested=True)
    assert Job.objects.renew_leases(WORKER, [wanted, unwanted]) == Renewal({unwanted.pk}, NOTHING)
    assert is_renewed(unwanted)


@pytest.mark.parametrize("change", LOSSES, ids=lambda change: next(iter(change)))
def test_a_renewal_says_which_leases_were_lost_and_leaves_those_jobs_alone(change: dict[str, Any]) -> None:
    held, lost = make_held(), make_held()
    Job.objects.filter(pk=lost.pk).update(**change)
    before = row(lost)
    lost.progress = HALF
    assert Job.objects.renew_leases(WORKER, [held, lost]) == Renewal(NOTHING, {lost.pk})
    assert (row(lost), is_renewed(held)) == (before, True)


def test_a_job_that_was_deleted_meanwhile_is_lost() -> None:
    gone = Job(pk=new_id(), attempt=1, worker=WORKER)
    assert Job.objects.renew_leases(WORKER, [gone]) == Renewal(NOTHING, {gone.pk})


@on_postgresql
@pytest.mark.django_db(transaction=True)
def test_a_row_that_somebody_else_has_locked_is_not_waited_for_and_is_neither_cancelled_nor_lost() -> None:
    locked, free = make_held(cancel_requested=True), make_held()
    with locked_elsewhere(locked):
        assert Job.objects.renew_leases(WORKER, [locked, free]) == Renewal(NOTHING, NOTHING)
        Job.objects.show_progress(WORKER, [locked, free])
    assert (is_renewed(locked), is_renewed(free)) == (False, True)
    assert Job.objects.renew_leases(WORKER, [locked, free]) == Renewal({locked.pk}, NOTHING)


def test_showing_progress_renews_no_lease() -> None:
    job = make_held()
    job.progress = HALF
    Job.objects.show_progress(WORKER, [job])
    assert (row(job)["progress"], is_renewed(job)) == (HALF, False)


@pytest.mark.parametrize("change", LOSSES, ids=lambda change: next(iter(change)))
def test_progress_of_an_attempt_that_is_over_is_ignored(change: dict[str, Any]) -> None:
    job = make_held()
    Job.objects.update(**change)
    before = row(job)
    job.progress = HALF
    Job.objects.show_progress(WORKER, [job])
    assert row(job) == before
