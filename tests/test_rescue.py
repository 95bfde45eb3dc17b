"""What is recorded of an attempt whose worker is gone, and what follows it."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from jobs.errors import WorkerLost
from jobs.leases import LEASE
from jobs.models import Job
from jobs.outcome import describe
from jobs.rescue import rescue
from jobs.states import Status
from tests.make import make_job

pytestmark = pytest.mark.django_db

AN_HOUR_AGO = timezone.now() - timedelta(hours=1)


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


def test_a_lost_job_keeps_its_place_in_the_line() -> None:
    """With a new run_at it would wait behind all that were submitted while its worker was dead."""
    waiting = make_job(run_at=AN_HOUR_AGO + timedelta(minutes=1))
    lost = make_lost_job(began=AN_HOUR_AGO, last_renewal=AN_HOUR_AGO, timeout=10)

    Job.objects.queue_what_is_due()
    assert Job.objects.claim("there:2", limit=2) == [lost, waiting]


@pytest.mark.parametrize(("max_attempts", "status"), [(1, "failed"), (2, "retrying")])
def test_a_job_that_loses_its_last_attempt_has_failed(max_attempts: int, status: str) -> None:
    job = make_lost_job(began=AN_HOUR_AGO, last_renewal=AN_HOUR_AGO, timeout=10, max_attempts=max_attempts)

    assert job.status == status


def test_what_a_client_reads_of_a_lost_attempt_names_no_machine() -> None:
    error = describe(WorkerLost("db-7.internal/0a1b2c:4711"), 1)
    assert "internal" not in error["message"]
    assert "db-7.internal/0a1b2c:4711" in error["traceback"]
