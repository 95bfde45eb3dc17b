"""The queue's verbs on many rows (claims are in jobs/models/claiming.py, leases in jobs/models/leases.py)."""

from collections.abc import Sequence
from contextlib import suppress
from copy import copy
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import structlog
from django.db import models, transaction
from django.db.models import F
from django.db.models.functions import Now

from jobs.errors import LeaseLost
from jobs.models import sql
from jobs.models.claiming import BY_AGE, ClaimQuerySet
from jobs.models.leases import LeaseQuerySet
from jobs.models.states import TERMINAL, UPCOMING, WAITING, Status

log = structlog.get_logger(__name__)

BATCH = 500
"""How many rows one statement of housekeeping touches, so that it never locks the table for long."""


class JobQuerySet(ClaimQuerySet, LeaseQuerySet):  # type: ignore[override]  # as_manager() is the subclass's own
    def unfinished(self) -> Self:
        return self.exclude(status__in=TERMINAL)

    def expired(self) -> Self:
        """Running jobs whose worker has not renewed their lease: it is dead, stuck or cut off."""
        return self.filter(status=Status.RUNNING, lease_expires_at__lt=Now()).order_by("lease_expires_at")

    def running_on(self, worker: str) -> Self:
        return self.filter(status=Status.RUNNING, worker=worker)

    def without_history(self) -> Self:
        """Without what attempts have left behind, which may be large: it is read when it is asked for."""
        return self.defer(*sql.HISTORY)

    def become_due(self) -> Self:
        """Scheduled and retrying jobs whose time has come, in the order of their times and of their index."""
        return self.filter(status__in=UPCOMING, run_at__lte=Now()).order_by("run_at")

    def queue_due(self) -> int:
        """Turn up to BATCH scheduled and retrying jobs whose time has come into queued ones; returns how many."""
        # Not exists(), which drops the order: the planner may then hope to meet a due job early in the whole table.
        ids = self.become_due().values_list("pk", flat=True)
        if not ids[:1]:
            return 0
        with transaction.atomic(using=self.db):
            if self._on_postgresql:
                sql.read_in_order_of_index(self)
            due = list(ids.select_for_update(skip_locked=True)[:BATCH])
            return self.filter(pk__in=due).update(status=Status.QUEUED)

    def waiting_kinds(self) -> set[tuple[str, str]]:
        """The kind and pool of each job that waits."""
        parts = (self.filter(BY_AGE), self.filter(status__in=UPCOMING))  # each reads an index of its own
        return {pair for part in parts for pair in part.order_by().values_list("kind", "pool").distinct()}

    def move_to_pool(self, kind: str, pool: str) -> int:
        """Have waiting jobs of this kind claimed for this pool; returns how many."""
        return self.filter(status__in=WAITING, kind=kind).exclude(pool=pool).update(pool=pool)

    def prune(self, status: str, finished_before: datetime) -> int:
        """Delete the jobs that ended so before then, in batches; returns how many."""
        # A job is made before it ends, and ids sort by the time they were made: only old ones are looked at.
        old = self.filter(status=status, finished_at__lt=finished_before, id__lt=first_id_at(finished_before))
        return delete_in_batches(old)

    def insert(self, job: Any) -> None:
        """job.save() for a new one, whose values are plain JSON where they are JSON."""
        self._for_write = True
        if self._on_postgresql:
            sql.insert(self, job)
        else:
            job.save(force_insert=True, using=self.db)

    def insert_many(self, template: Any, rows: Sequence[tuple[UUID, object]]) -> None:
        """Insert a job like the template for each of these ids and params, in one statement where that is possible."""
        self._for_write = True
        if self._on_postgresql:
            sql.insert_many(self, template, rows)
        else:
            self.bulk_create([_like(template, pk, params) for pk, params in rows])

    def succeed_many(self, worker: str, results: Sequence[tuple[Any, object]]) -> None:
        """Job.succeed() for many running jobs of this worker at once; one whose lease is lost is left as it is."""
        if self._on_postgresql:
            ended = sql.succeed_many(self, worker, results)
        else:
            ended = self._succeed_in_one_transaction(results)
        for job, _ in results:
            if job.pk in ended:
                log.info("job_left_running", job_id=str(job.pk), attempt=job.attempt, status=Status.SUCCEEDED)
            else:
                log.warning("job_lease_lost", job_id=str(job.pk), attempt=job.attempt)

    def hand_back_many(self, worker: str, jobs: Sequence[Any]) -> None:
        """Job.hand_back() for many jobs that this worker has claimed and not begun, in one statement."""
        held = self.running_on(worker).filter(pk__in=[job.pk for job in jobs])
        count = held.filter(cancel_requested=False).update(
            status=Status.QUEUED, attempt=F("attempt") - 1, lease_expires_at=None
        )
        log.info("jobs_handed_back", worker=worker, count=count)
        # Only these: what has just been handed back may be ours again.
        for job in held.filter(cancel_requested=True).without_history():
            with suppress(LeaseLost):
                job.finish_cancelled()

    def _succeed_in_one_transaction(self, results: Sequence[tuple[Any, object]]) -> set[UUID]:
        ended = set()
        with transaction.atomic(using=self.db):
            for job, result in results:
                with suppress(LeaseLost):
                    job.succeed(result)
                    ended.add(job.pk)
        return ended


def _like(template: Any, pk: UUID, params: object) -> Any:
    job = copy(template)
    job.pk, job.params = pk, params
    return job


def first_id_at(moment: datetime) -> UUID:
    """The least UUIDv7 (RFC 9562, 5.7) of this moment: its first 48 bits are milliseconds since 1970."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def delete_in_batches(rows: models.QuerySet[Any]) -> int:
    """Delete rows a batch at a time; returns how many."""
    deleted = 0
    while batch := list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        deleted += rows.filter(pk__in=batch).delete()[0]
    return deleted
