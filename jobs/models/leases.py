"""Leases of running jobs: how they are kept, and how what they do is shown, many in one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db import connections, models, transaction
from django.db.models.functions import Now

from jobs.models.states import Status

LEASE = timedelta(seconds=30)
"""How long a claim is good for unless its worker renews it."""

HELD = """
    WITH held (id, attempt, progress) AS (
        SELECT * FROM unnest(%s::uuid[], %s::int[], %s::jsonb[])
    ), own AS MATERIALIZED (
        SELECT jobs_job.id FROM jobs_job JOIN held USING (id)
        WHERE jobs_job.attempt = held.attempt AND jobs_job.worker = %s AND jobs_job.status = 'running'
        FOR NO KEY UPDATE OF jobs_job SKIP LOCKED
    )
    UPDATE jobs_job SET progress = held.progress {further}
    FROM held WHERE jobs_job.id = held.id AND jobs_job.id IN (SELECT id FROM own)
    RETURNING jobs_job.id, cancel_requested
"""
SHOW = HELD.format(further="")
RENEW = HELD.format(further=", lease_expires_at = statement_timestamp() + %s")


@dataclass(frozen=True)
class Renewal:
    """What came of renewing leases. cancelled: these are renewed, but to be stopped. lost: not ours any more.

    A row that somebody else has locked is in neither: it is not waited for, and its lease goes on as it is.
    """

    cancelled: set[UUID]
    lost: set[UUID]


class LeaseQuerySet(models.QuerySet[Any]):
    """The part of JobQuerySet that a worker's heartbeat uses."""

    def renew_leases(self, worker: str, jobs: Sequence[Any]) -> Renewal:
        """Hold these running attempts of the worker for another while, and show their progress."""
        renewed = self._update_held(worker, jobs, RENEW, [LEASE], lease_expires_at=Now() + LEASE)
        missing = [job for job in jobs if job.pk not in renewed]
        cancelled = {pk for pk, cancel_requested in renewed.items() if cancel_requested}
        return Renewal(cancelled, {job.pk for job in missing} - self._still_held(worker, missing))

    def show_progress(self, worker: str, jobs: Sequence[Any]) -> None:
        """Write the progress of these running attempts, except where the lease is lost or the row is locked."""
        self._update_held(worker, jobs, SHOW, [])

    def _update_held(
        self, worker: str, jobs: Sequence[Any], statement: str, values: list[Any], **changes: Any
    ) -> dict[UUID, bool]:
        """Whether the cancellation of each was asked for; what is lost or locked is left out."""
        self._for_write = True
        if connections[self.db].vendor != "postgresql":
            return self._update_one_by_one(worker, jobs, **changes)
        progress = [orjson.dumps(job.progress).decode() for job in jobs]
        with connections[self.db].cursor() as cursor:
            cursor.execute(
                statement, [[job.pk for job in jobs], [job.attempt for job in jobs], progress, worker, *values]
            )
            return dict(cursor.fetchall())

    def _update_one_by_one(self, worker: str, jobs: Sequence[Any], **changes: Any) -> dict[UUID, bool]:
        found = {}
        with transaction.atomic(using=self.db):
            for job in jobs:
                held = self._held(worker, job)
                if held.update(progress=job.progress, **changes):
                    found[job.pk] = held.values_list("cancel_requested", flat=True).get()
        return found

    def _still_held(self, worker: str, jobs: Sequence[Any]) -> set[UUID]:
        return {job.pk for job in jobs if self._held(worker, job).exists()}

    def _held(self, worker: str, job: Any) -> "LeaseQuerySet":
        return self.filter(pk=job.pk, status=Status.RUNNING, attempt=job.attempt, worker=worker)
