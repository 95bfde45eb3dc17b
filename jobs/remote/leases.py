"""A remote worker's side of a job: claim it, renew its lease, report how the attempt ended.

A lease is one running attempt of a Job row. The claim, the fence and the rescue are those of local workers; this module
adds whose job it is, how long its kind's leases last, and that a lease is over when it expires, rescued or not.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from jobs.brokers.pauses import paused_kinds
from jobs.errors import JobError, LeaseLost
from jobs.models import Job
from jobs.models.queryset import JobQuerySet
from jobs.models.queue.claim import Claim
from jobs.models.states import Status
from jobs.registry import REMOTE_LEASE, REMOTE_POOL, UnknownKind, find_kind
from jobs.remote.lease_id import LeaseId, NoSuchLease
from jobs.worker.attempts.outcome import record_failure
from jobs.worker.rescue import rescue

log = structlog.get_logger(__name__)


class WorkerBusy(JobError):
    """A worker of this name holds a lease of this user's jobs already."""

    def __init__(self, job: Job) -> None:
        super().__init__(f"worker {job.worker!r} holds a lease already, and may hold one at a time")
        self.job = job


def lease_next(user_id: int, worker: str, kinds: Collection[str]) -> Any:
    """Claim the best due Job of this user and these kinds; None if nothing is due. Raises WorkerBusy."""
    own = Job.objects.leased_by(user_id, worker)
    if held := own.annotate(now=Now()).first():
        if held.lease_expires_at > held.now:
            raise WorkerBusy(held)
        rescue(own.expired())  # another request of this worker may hold a new lease by now
    Job.objects.filter(user=user_id, pool=REMOTE_POOL).queue_due()
    claimable = set(kinds) - paused_kinds()
    if not claimable:
        return None
    try:
        with transaction.atomic():
            claim = Claim(worker, pool=REMOTE_POOL, owner=user_id, kinds=tuple(sorted(claimable)))
            job = next(iter(Job.objects.claim(claim)), None)
            if job is not None:
                _extend(job, job.started_at)
    except IntegrityError:
        if held := own.first():
            raise WorkerBusy(held) from None
        return None  # another request of this worker held a lease at that moment
    if job is not None:
        log.info("job_leased", job_id=str(job.pk), kind=job.kind, attempt=job.attempt, worker=worker)
    return job


def find_lease(user_id: int, lease: LeaseId) -> Any:
    """The leased Job. Raises NoSuchLease, LeaseLost."""
    return _find(Job.objects.all(), user_id, lease)


def renew(user_id: int, lease: LeaseId, progress: dict[str, Any] | None) -> Any:
    """Renew the lease and write the progress, if any. Returns the Job. Raises NoSuchLease, LeaseLost."""
    with _held(user_id, lease) as job:
        _extend(job, job.now, **({} if progress is None else {"progress": progress}))
    return job


def succeed(user_id: int, lease: LeaseId, result: object) -> Any:
    """Finish the job with this result, or find that the same report has done so. Raises NoSuchLease, LeaseLost."""
    try:
        with _held(user_id, lease) as job:
            job.succeed(result)
    except LeaseLost:
        job = _of_user(Job.objects.all(), user_id, lease)
        if (job.status, job.attempt, job.result) != (Status.SUCCEEDED, lease.attempt, result):
            raise
    return job


def fail(user_id: int, lease: LeaseId, error: JobError) -> Any:
    """End the attempt with this error, or find that the same report has done so. Raises NoSuchLease, LeaseLost.

    The retry policy decides whether the job runs again.
    """
    try:
        with _held(user_id, lease) as job:
            record_failure(job, error)
    except LeaseLost:
        job = _of_user(Job.objects.all(), user_id, lease)
        reported = (lease.attempt, type(error).__name__, str(error))
        if reported not in [(entry["attempt"], entry["type"], entry["message"]) for entry in job.errors]:
            raise
    return job


@contextmanager
def _held(user_id: int, lease: LeaseId) -> Iterator[Any]:
    """The leased job, locked until the end of the block, so that neither a rescue nor another report comes between."""
    with transaction.atomic():
        yield _find(Job.objects.select_for_update(), user_id, lease)


def _find(rows: JobQuerySet, user_id: int, lease: LeaseId) -> Any:
    job = _of_user(rows, user_id, lease)
    if job.status != Status.RUNNING or job.attempt != lease.attempt or job.lease_expires_at <= job.now:
        raise LeaseLost(job.pk, lease.attempt)
    return job


def _of_user(rows: JobQuerySet, user_id: int, lease: LeaseId) -> Any:
    """The job of this lease, held or not, with the database's `now`. Raises NoSuchLease."""
    job = (
        rows.filter(pk=lease.job_id, user=user_id, pool=REMOTE_POOL, attempt__gte=lease.attempt)
        .without_history()
        .annotate(now=Now())
        .first()
    )
    if job is None:
        raise NoSuchLease(str(lease))
    return job


def _extend(job: Any, start: datetime, **changes: object) -> None:
    """From this time on the lease lasts as the kind says, but not beyond the job's timeout."""
    changes["lease_expires_at"] = min(start + _length(job.kind), job.started_at + timedelta(seconds=job.timeout))
    Job.objects.held_by(job.worker, job).update(**changes)
    for name, value in changes.items():
        setattr(job, name, value)


def _length(kind: str) -> timedelta:
    try:
        return timedelta(seconds=find_kind(kind).lease)
    except UnknownKind:
        return timedelta(seconds=REMOTE_LEASE)  # leased through a newer release's process
