"""What becomes of jobs whose worker is gone: the attempt is recorded as lost or timed out, and policy decides."""

from datetime import datetime, timedelta

import structlog
from django.db import transaction
from django.utils import timezone

from jobs.errors import WorkerLost
from jobs.interrupt import TimedOut
from jobs.models import Job
from jobs.outcome import conclude_failure
from jobs.queue import LEASE, JobQuerySet

log = structlog.get_logger(__name__)

BATCH = 100


def rescue(lost: JobQuerySet) -> int:
    """End the attempts of up to BATCH of these running jobs; returns how many. Several may rescue at once."""
    with transaction.atomic():
        jobs = list(lost.select_for_update(skip_locked=True).without_history()[:BATCH])
        for job in jobs:
            log.warning("job_rescued", job_id=str(job.pk), attempt=job.attempt, worker=job.worker)
            conclude_failure(job, _loss(job))
    return len(jobs)


def _loss(job: Job) -> BaseException:
    """Why the worker is gone, as far as one can tell from here."""
    if job.started_at and job.started_at + timedelta(seconds=job.timeout) <= _last_alive(job):
        return TimedOut(f"the attempt took longer than {job.timeout} s and had to be killed")
    return WorkerLost(job.worker)


def _last_alive(job: Job) -> datetime:
    """Until when its worker lived for certain: now, if it was seen to die, or else the last renewal of the lease."""
    now = timezone.now()
    if job.lease_expires_at and job.lease_expires_at < now:
        return job.lease_expires_at - LEASE
    return now
