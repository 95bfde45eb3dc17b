"""What becomes of jobs whose worker is gone: the attempt is recorded as lost or timed out, and policy decides.

Only the database's clock is asked: leases and starts are on it, and a machine's own may be wrong.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.db.models.functions import Now

from jobs.errors import WorkerLost
from jobs.models import Job
from jobs.models.leases import LEASE
from jobs.models.queryset import JobQuerySet
from jobs.models.states import Status
from jobs.worker.interrupt import TimedOut
from jobs.worker.outcome import conclude_failure

log = structlog.get_logger(__name__)

BATCH = 100
"""Jobs that one transaction rescues."""
Why = Callable[[Any], BaseException]
"""Of a job, annotated with the database's now."""


def rescue(lost: JobQuerySet, because: Why | None = None) -> int:
    """End the attempts of all these running jobs, a batch at a time; returns how many. Several may rescue at once.

    because: the error of each attempt; by default what can be told from the times in its row.
    """
    count, failed = 0, set[UUID]()
    while True:
        found, failed_now = _rescue_batch(lost.exclude(pk__in=failed), because or _loss)
        count += found - len(failed_now)
        failed |= failed_now
        if found < BATCH:
            return count


def _rescue_batch(lost: JobQuerySet, why: Why) -> tuple[int, set[UUID]]:
    """How many jobs there were, and the ids of those that could not be rescued."""
    with transaction.atomic():
        running = lost.filter(status=Status.RUNNING).select_for_update(skip_locked=True).without_history()
        jobs = list(running.annotate(now=Now())[:BATCH])
        return len(jobs), {job.pk for job in jobs if not _rescued(job, why)}


def _rescued(job: Any, why: Why) -> bool:
    """Whether its attempt could be ended. One job that cannot be rescued must not keep the others from it."""
    try:
        with transaction.atomic():
            conclude_failure(job, why(job))
    except (OperationalError, InterfaceError):
        raise  # the database's fault, and not the job's
    except Exception:
        log.exception("job_not_rescued", job_id=str(job.pk), attempt=job.attempt)
        return False
    log.warning("job_rescued", job_id=str(job.pk), attempt=job.attempt, worker=job.worker)
    return True


def _loss(job: Any) -> BaseException:
    """Why the worker is gone, as far as one can tell from here."""
    if job.started_at and job.started_at + timedelta(seconds=job.timeout) <= _last_alive(job, job.now):
        return TimedOut(f"the attempt took longer than {job.timeout} s and had to be killed")
    return WorkerLost(job.worker)


def _last_alive(job: Job, now: datetime) -> datetime:
    """Until when its worker lived for certain: now, if it was seen to die, or else the last renewal of the lease."""
    if job.lease_expires_at and job.lease_expires_at < now:
        return job.lease_expires_at - LEASE
    return now
