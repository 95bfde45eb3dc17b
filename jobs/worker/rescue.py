"""Ends the attempts of workers that are gone. The retry policy decides what becomes of their jobs.

rescue() is for leases that expired (called by the dispatcher); take_over() for a process that died and was replaced
(called by its successor, so no lease needs to expire). Only the database's clock is used: leases and starts are on it,
and a machine's clock may be wrong.
"""

from collections import Counter as Numbers
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import InterfaceError, OperationalError, transaction
from django.db.models.functions import Now

from jobs.errors import WorkerLost
from jobs.models import Counter, Job
from jobs.models.queryset import JobQuerySet
from jobs.models.queue.claim import LEASE
from jobs.models.states import Status
from jobs.registry import REMOTE_POOL
from jobs.worker.attempts.interrupt import TimedOut
from jobs.worker.attempts.outcome import record_failure
from jobs.worker.watchdog import Predecessor

log = structlog.get_logger(__name__)

BATCH = 100
"""Jobs that one transaction rescues."""
RESCUED = "rescued_leases"
"""The counter, by kind and by the error that ended the attempt."""
Diagnosis = Callable[[Any], BaseException]
"""The error that ended an attempt. Takes the job, annotated with the database's now."""


def take_over(predecessor: Predecessor) -> None:
    """End the attempts that killed the process or may have; hand back its other jobs without consuming an attempt.

    Rows locked by others are skipped: their leases expire.
    """
    jobs, culprits = Job.objects.running_on(predecessor.name), predecessor.timed_out | predecessor.lost
    rescue(jobs.filter(pk__in=predecessor.timed_out), _killed_for_timeout)
    rescue(jobs.filter(pk__in=predecessor.lost), lambda job: WorkerLost(job.worker))
    with transaction.atomic():
        others = jobs.exclude(pk__in=culprits).select_for_update(skip_locked=True)
        if innocent := list(others.without_history()):
            Job.objects.hand_back_many(predecessor.name, innocent)


def rescue(lost: JobQuerySet, diagnose: Diagnosis | None = None) -> int:
    """End the attempts of all these running jobs in batches; returns how many. Several processes may do so at once.

    diagnose: by default a guess from the times in the job's row.
    """
    count, failed = 0, set[UUID]()
    while True:
        found, failed_now = _rescue_batch(lost.exclude(pk__in=failed), diagnose or _timeout_or_loss)
        count += found - len(failed_now)
        failed |= failed_now
        if found < BATCH:
            return count


def _rescue_batch(lost: JobQuerySet, diagnose: Diagnosis) -> tuple[int, set[UUID]]:
    """The number of jobs found, and the ids of those that could not be rescued."""
    with transaction.atomic():
        running = lost.filter(status=Status.RUNNING).select_for_update(skip_locked=True).without_history()
        jobs = list(running.annotate(now=Now())[:BATCH])
        errors = {job.pk: _rescue_one(job, diagnose) for job in jobs}
        Counter.objects.add(RESCUED, Numbers((job.kind, error) for job in jobs if (error := errors[job.pk])))
        return len(jobs), {pk for pk, error in errors.items() if not error}


def _rescue_one(job: Any, diagnose: Diagnosis) -> str:
    """The class of the error that ended the attempt; "" if it could not be ended: others are still rescued."""
    try:
        with transaction.atomic():
            error = diagnose(job)
            record_failure(job, error)
    except (OperationalError, InterfaceError):
        raise  # an outage, not a fault of this job
    except Exception:
        log.exception("job_not_rescued", job_id=str(job.pk), attempt=job.attempt)
        return ""
    log.warning("job_rescued", job_id=str(job.pk), attempt=job.attempt, worker=job.worker)
    return type(error).__name__


def _killed_for_timeout(job: Job) -> TimedOut:
    return TimedOut(f"the attempt did not stop, with a timeout of {job.timeout} s, and its process was killed")


def _timeout_or_loss(job: Any) -> BaseException:
    """TimedOut if the worker was alive at the end of the job's timeout, else WorkerLost."""
    if job.pool == REMOTE_POOL:
        return _remote_timeout_or_loss(job)
    if job.started_at and job.started_at + timedelta(seconds=job.timeout) <= _last_alive(job, job.now):
        return TimedOut(f"the attempt took longer than {job.timeout} s and had to be killed")
    return WorkerLost(job.worker)


def _remote_timeout_or_loss(job: Any) -> BaseException:
    """TimedOut if the lease lasted until the timeout, the longest that one can last (jobs/remote/leases.py)."""
    if job.lease_expires_at >= job.started_at + timedelta(seconds=job.timeout):
        return TimedOut(f"the attempt took longer than {job.timeout} s")
    return WorkerLost(job.worker)


def _last_alive(job: Job, now: datetime) -> datetime:
    """The last time at which the worker is known to have lived: its last renewal if the lease has expired, else now."""
    if job.lease_expires_at and job.lease_expires_at < now:
        return job.lease_expires_at - LEASE
    return now
