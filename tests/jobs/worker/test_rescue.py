"""What is recorded of an attempt whose worker is gone, and what follows it."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs.errors import RetryAfter, WorkerLost
from jobs.models import Counter, Job
from jobs.models.queue.leases import LEASE
from jobs.models.states import Status
from jobs.worker import rescue as rescue_module
from jobs.worker.attempts.outcome import error_entry, record_failure
from jobs.worker.rescue import BATCH, RESCUED, rescue
from tests.support.claims import claim_jobs
from tests.support.factories import clock_wrong_by, make_job
from tests.support.timeouts import PATIENCE

pytestmark = pytest.mark.django_db

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
AN_HOUR_AGO = timezone.now() - HOUR


def make_lost_job(*, began: datetime, last_renewal: datetime, timeout: int, **fields: Any) -> Job:
    job = make_job(
        Status.RUNNING, started_at=began, lease_expires_at=last_renewal + LEASE, timeout=timeout, run_at=began, **fields
    )
    rescue(Job.objects.filter(pk=job.pk))
    job.refresh_from_db()
    return job


def test_a_worker_that_died_before_the_timeout_was_lost_however_late_that_is_noticed() -> None:
    job = make_lost_job(began=AN_HOUR_AGO, last_renewal=AN_HOUR_AGO, timeout=10)

    assert [error["type"] for error in job.errors] == ["WorkerLost"]


def test_an_attempt_that_was_renewed_past_its_timeout_was_too_long() -> None:
    job = make_lost_job(began=AN_HOUR_AGO, last_renewal=AN_HOUR_AGO + timedelta(seconds=12), timeout=10)

    assert [error["type"] for error in job.errors] == ["TimedOut"]


def test_an_attempt_that_is_taken_over_after_its_timeout_was_too_long() -> None:
    now = timezone.now()
    job = make_lost_job(began=now - timedelta(seconds=12), last_renewal=now - timedelta(seconds=2), timeout=10)

    assert [error["type"] for error in job.errors] == ["TimedOut"]


@pytest.mark.parametrize("skew", [-HOUR, HOUR])
@pytest.mark.parametrize(
    ("ago", "renewed_after", "named"),
    [(12, 9, "TimedOut"), (5, 3, "WorkerLost"), (3600, 0, "WorkerLost"), (3600, 12, "TimedOut")],
    ids=["taken over after its timeout", "taken over before it", "expired before it", "expired after it"],
)
def test_a_machine_whose_clock_is_wrong_names_the_end_of_an_attempt_correctly(
    monkeypatch: pytest.MonkeyPatch, skew: timedelta, ago: int, renewed_after: int, named: str
) -> None:
    began = timezone.now() - timedelta(seconds=ago)
    with clock_wrong_by(monkeypatch, skew):
        job = make_lost_job(began=began, last_renewal=began + timedelta(seconds=renewed_after), timeout=10)

    assert [error["type"] for error in job.errors] == [named]


@pytest.mark.parametrize("skew", [-HOUR, HOUR])
def test_a_machine_whose_clock_is_wrong_does_not_change_the_wait_for_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch, skew: timedelta
) -> None:
    job = make_job(Status.RUNNING)
    before = timezone.now()
    with clock_wrong_by(monkeypatch, skew):
        record_failure(job, RetryAfter(600))
    job.refresh_from_db()
    assert timedelta(0) <= job.run_at - before - timedelta(seconds=600) < timedelta(seconds=PATIENCE)


def test_a_replacement_takes_over_all_jobs_of_its_predecessor_and_nobody_elses() -> None:
    mine = {make_job(Status.RUNNING, worker="here:1").pk for _ in range(BATCH + 50)}
    other = make_job(Status.RUNNING, worker="here:11")

    assert rescue(Job.objects.running_on("here:1")) == BATCH + 50

    assert {job.pk for job in Job.objects.filter(status=Status.RETRYING)} == mine
    assert list(Job.objects.filter(status=Status.RUNNING)) == [other]


def test_jobs_that_cannot_be_rescued_do_not_keep_the_others_from_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rescue_module, "BATCH", 2)
    odd = [
        make_job(Status.RUNNING, backoff={"from": "the next release"}, lease_expires_at=AN_HOUR_AGO) for _ in range(3)
    ]
    lost = [make_job(Status.RUNNING, lease_expires_at=AN_HOUR_AGO + MINUTE) for _ in range(3)]

    assert rescue(Job.objects.expired()) == 3

    assert set(Job.objects.filter(status=Status.RETRYING)) == set(lost)
    assert set(Job.objects.expired()) == set(odd)


def test_a_lost_job_keeps_its_place_in_the_line() -> None:
    """With a new run_at it would wait behind all that were submitted while its worker was dead."""
    waiting = make_job(run_at=AN_HOUR_AGO + timedelta(minutes=1))
    lost = make_lost_job(began=AN_HOUR_AGO, last_renewal=AN_HOUR_AGO, timeout=10)

    Job.objects.queue_due()
    assert claim_jobs("there:2", limit=2) == [lost, waiting]


def test_rescued_leases_are_counted_by_kind_and_reason() -> None:
    make_lost_job(began=AN_HOUR_AGO, last_renewal=AN_HOUR_AGO, timeout=10)
    make_lost_job(began=AN_HOUR_AGO, last_renewal=AN_HOUR_AGO, timeout=10)
    make_lost_job(began=AN_HOUR_AGO, last_renewal=AN_HOUR_AGO + timedelta(seconds=12), timeout=10)
    cannot = make_job(Status.RUNNING, backoff={"from": "the next release"}, lease_expires_at=AN_HOUR_AGO)

    rescue(Job.objects.filter(pk=cannot.pk))

    assert Counter.objects.totals(RESCUED) == {
        ("demo.countdown", "WorkerLost"): 2,
        ("demo.countdown", "TimedOut"): 1,
    }


@pytest.mark.parametrize(("max_attempts", "status"), [(1, "failed"), (2, "retrying")])
def test_a_job_that_loses_its_last_attempt_has_failed(max_attempts: int, status: str) -> None:
    job = make_lost_job(began=AN_HOUR_AGO, last_renewal=AN_HOUR_AGO, timeout=10, max_attempts=max_attempts)

    assert job.status == status


def test_a_lost_attempt_keeps_its_own_start() -> None:
    job = make_lost_job(began=AN_HOUR_AGO, last_renewal=AN_HOUR_AGO, timeout=10, max_attempts=2)
    began = job.started_at
    assert began is not None
    Job.objects.filter(pk=job.pk).update(started_at=timezone.now())
    job.refresh_from_db()
    assert job.errors[0]["started_at"] == began.isoformat().replace("+00:00", "Z")


def test_what_a_client_reads_of_a_lost_attempt_names_no_machine() -> None:
    error = error_entry(WorkerLost("db-7.internal/0a1b2c:4711"), 1)
    assert "internal" not in error["message"]
    assert "db-7.internal/0a1b2c:4711" in error["traceback"]
