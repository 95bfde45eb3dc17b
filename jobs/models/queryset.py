"""Transitions and queries of many jobs at once. Claims are in claiming.py, leases in leases.py."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import structlog
from django.db import OperationalError, models, transaction
from django.db.models import Count, F, Max, Min
from django.db.models.functions import Now
from psycopg2.errors import LockNotAvailable

from jobs.errors import LeaseLost
from jobs.models.bulk import BulkQuerySet
from jobs.models.queue import sql
from jobs.models.queue.claiming import ClaimQuerySet
from jobs.models.queue.due import BY_AGE
from jobs.models.queue.leases import LeaseQuerySet
from jobs.models.queue.sql_postgresql import HISTORY
from jobs.models.states import TERMINAL, UPCOMING, WAITING, Status
from jobs.registry import REMOTE_POOL

log = structlog.get_logger(__name__)

BATCH = 500
"""Rows that one maintenance statement changes: with more, it would hold their locks for too long."""


class JobQuerySet(ClaimQuerySet, LeaseQuerySet, BulkQuerySet):  # type: ignore[override]  # as_manager() is the subclass's own
    def unfinished(self) -> Self:
        return self.exclude(status__in=TERMINAL)

    def expired(self, since: datetime | None = None) -> Self:
        """Running jobs whose lease has expired (since this time): the worker is dead, stuck or disconnected."""
        rows = self.filter(status=Status.RUNNING, lease_expires_at__lt=Now()).order_by("lease_expires_at")
        return rows if since is None else rows.filter(lease_expires_at__gte=since)

    def running_on(self, worker: str) -> Self:
        """Running jobs of a cluster's worker process. Without remote jobs: a remote worker may choose the same name."""
        return self.filter(status=Status.RUNNING, worker=worker).exclude(pool=REMOTE_POOL)

    def leased_by(self, user_id: int, worker: str) -> Self:
        """The job that this remote worker of this user holds, if any."""
        return self.filter(status=Status.RUNNING, pool=REMOTE_POOL, user=user_id, worker=worker)

    def without_history(self) -> Self:
        """Without the columns that may be large, errors and result; they are loaded when they are used."""
        return self.defer(*HISTORY)

    def overdue(self) -> Self:
        """Scheduled and retrying jobs whose run_at has passed, in the order of their index."""
        return self.filter(status__in=UPCOMING, run_at__lte=Now()).order_by("run_at")

    def queue_due(self) -> int:
        """Queue up to BATCH scheduled and retrying jobs whose run_at has passed; returns how many."""
        # Not exists(), which drops the order: the planner may then scan the table in the hope of an early match.
        ids = self.overdue().values_list("pk", flat=True)
        if not ids[:1]:
            return 0
        with transaction.atomic(using=self.db):
            sql.sql_for(self.db).read_in_index_order(self)
            due = list(ids.select_for_update(skip_locked=True)[:BATCH])
            return self.filter(pk__in=due).update(status=Status.QUEUED)

    def backlog(self) -> tuple[int, float]:
        """The number of due jobs, and the seconds that the first of them has waited (0.0 if there is none)."""
        due = self.filter(BY_AGE, run_at__lte=Now()).aggregate(count=Count("pk"), first=Min("run_at"), now=Max(Now()))
        return due["count"], (due["now"] - due["first"]).total_seconds() if due["count"] else 0.0

    def waiting_kinds(self) -> set[tuple[str, str]]:
        """The distinct kinds and pools of waiting jobs."""
        parts = (self.filter(BY_AGE), self.filter(status__in=UPCOMING))  # two queries, because each has its index
        return {pair for part in parts for pair in part.order_by().values_list("kind", "pool").distinct()}

    def move_to_pool(self, kind: str, pool: str) -> int:
        """Move the waiting jobs of this kind to this pool; returns how many."""
        return self.filter(status__in=WAITING, kind=kind).exclude(pool=pool).update(pool=pool)

    def prune(self, status: str, finished_before: datetime) -> Iterator[int]:
        """Delete jobs with this final status that finished before then; yields how many, batch by batch."""
        # The condition on id lets the primary key's index skip all newer jobs: ids sort by creation time.
        old = self.filter(status=status, finished_at__lt=finished_before, id__lt=first_id_at(finished_before))
        return deletions(old)

    def insert(self, jobs: Sequence[Any]) -> None:
        """Insert new jobs whose JSON fields hold plain JSON, in one statement: all or none."""
        self._for_write = True
        sql.sql_for(self.db).insert(self, jobs)

    def succeed_many(self, worker: str, results: Sequence[tuple[Any, object]]) -> set[UUID]:
        """Job.succeed() for many running jobs of this worker. A job whose lease is lost is left as it is.

        Returns the ids of those whose rows another transaction keeps locked: they still run.
        """
        locked: set[UUID] = set()
        try:
            succeeded = sql.sql_for(self.db).succeed_many(self, worker, results)
        except OperationalError as error:
            if not isinstance(error.__cause__, LockNotAvailable):
                raise
            succeeded, locked = self._succeed_unlocked(worker, results)
        for job, _ in results:
            if job.pk not in succeeded and job.pk not in locked:
                log.warning("job_lease_lost", job_id=str(job.pk), attempt=job.attempt)
        return locked

    def hand_back_many(self, worker: str, jobs: Sequence[Any]) -> None:
        """Job.hand_back() for many jobs that this worker has claimed and not started, in one statement."""
        held = self.running_on(worker).filter(pk__in=[job.pk for job in jobs])
        count = held.filter(cancel_requested=False).update(
            status=Status.QUEUED, attempt=F("attempt") - 1, lease_expires_at=None
        )
        log.info("jobs_handed_back", worker=worker, count=count)
        # Only those with cancel_requested: the others may have been claimed again by this worker.
        for job in held.filter(cancel_requested=True).without_history():
            with suppress(LeaseLost):
                job.finish_cancelled()

    def _succeed_unlocked(self, worker: str, results: Sequence[tuple[Any, object]]) -> tuple[set[UUID], set[UUID]]:
        """The ids of those that succeeded, and of those whose rows are locked."""
        rows = self.filter(pk__in=[job.pk for job, _ in results])
        with transaction.atomic(using=self.db):
            free = set(rows.select_for_update(skip_locked=True, no_key=True).values_list("pk", flat=True))
            writable = [(job, result) for job, result in results if job.pk in free]
            succeeded = sql.sql_for(self.db).succeed_many(self, worker, writable)
        others = [job for job, _ in results if job.pk not in free]
        return succeeded, {job.pk for job in others if self.held_by(worker, job).exists()}


def first_id_at(moment: datetime) -> UUID:
    """The smallest UUIDv7 of this moment: its first 48 bits are milliseconds since 1970 (RFC 9562, 5.7)."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def deletions(rows: models.QuerySet[Any]) -> Iterator[int]:
    """Delete rows a batch at a time, in the order of their ids; yields how many.

    Each batch begins after the one before: index entries of deleted rows stay until a VACUUM and would be read again.
    """
    left = rows.order_by("pk").values_list("pk", flat=True)
    batch = list(left[:BATCH])
    while batch:
        yield rows.filter(pk__in=batch).delete()[0]
        batch = list(left.filter(pk__gt=batch[-1])[:BATCH])


def delete_in_batches(rows: models.QuerySet[Any]) -> int:
    """Delete rows a batch at a time; returns how many."""
    return sum(deletions(rows))
