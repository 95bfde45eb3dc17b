"""Leases of running jobs: a worker's heartbeat renews them and writes progress, many jobs in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from django.db import models

from jobs.models.queue import sql
from jobs.models.queue.claim import LEASE


@dataclass(frozen=True)
class Renewal:
    """The result of a renewal. cancelled: renewed, but cancellation was requested. lost: no longer held.

    A row that another transaction has locked is skipped, in neither set, and keeps its lease as it is.
    """

    cancelled: set[UUID]
    lost: set[UUID]


class LeaseQuerySet(models.QuerySet[Any]):
    """The part of JobQuerySet that a worker's heartbeat uses."""

    def renew_leases(self, worker: str, jobs: Sequence[Any]) -> Renewal:
        """Renew the leases of these running attempts, and write their progress."""
        renewed = self._update_held(worker, jobs, LEASE)
        missing = [job for job in jobs if job.pk not in renewed]
        cancelled = {pk for pk, cancel_requested in renewed.items() if cancel_requested}
        locked = {job.pk for job in missing if self.held_by(worker, job).exists()}
        return Renewal(cancelled, {job.pk for job in missing} - locked)

    def show_progress(self, worker: str, jobs: Sequence[Any]) -> None:
        """Write the progress of these running attempts, except where the lease is lost or the row is locked."""
        self._update_held(worker, jobs, None)

    def held_by(self, worker: str, job: Any) -> Self:
        """The job's row, if this worker still holds the lease of this attempt.

        Only running jobs have a lease (job_lease_iff_running). With a condition on the status, PostgreSQL could choose
        the index of running jobs, which has an entry for each job that has run since the last VACUUM.
        """
        return self.filter(pk=job.pk, lease_expires_at__isnull=False, attempt=job.attempt, worker=worker)

    def _update_held(self, worker: str, jobs: Sequence[Any], lease: timedelta | None) -> dict[UUID, bool]:
        self._for_write = True
        return sql.sql_for(self.db).update_held(self, worker, jobs, lease)
