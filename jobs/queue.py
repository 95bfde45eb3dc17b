"""The queue's verbs on many rows: what is due, and who claims it."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from django.db import models, transaction
from django.db.models import F
from django.db.models.functions import Now

from jobs.states import TERMINAL, UPCOMING, Status

LEASE = timedelta(seconds=30)
"""How long a claim is good for unless its worker renews it."""
BATCH = 500
"""How many rows one statement of housekeeping touches, so that it never locks the table for long."""
PATIENCE = timedelta(seconds=10)
"""How long a job is passed over for the sake of higher priorities before it counts as neglected."""


class JobQuerySet(models.QuerySet[Any]):
    def due(self, queues: Collection[str] | None = None) -> Self:
        """What a free worker may take now, best first: by priority, then by age. queues: None means all."""
        rows = self.filter(status=Status.QUEUED).order_by("-priority", "run_at")
        return rows if queues is None else rows.filter(queue__in=queues)

    def longest_waiting(self, queues: Collection[str] | None = None) -> Self:
        """What has been due for more than PATIENCE, oldest first and whatever its priority."""
        return self.due(queues).filter(run_at__lt=Now() - PATIENCE).order_by("run_at")

    def unfinished(self) -> Self:
        return self.exclude(status__in=TERMINAL)

    def expired(self) -> Self:
        """Running jobs whose worker has not renewed their lease: it is dead, stuck or cut off."""
        return self.filter(status=Status.RUNNING, lease_expires_at__lt=Now()).order_by("lease_expires_at")

    def running_on(self, worker: str) -> Self:
        return self.filter(status=Status.RUNNING, worker=worker)

    def queue_what_is_due(self) -> int:
        """Turn scheduled and retrying jobs whose time has come into queued ones; returns how many."""
        upcoming = self.filter(status__in=UPCOMING, run_at__lte=Now())
        with transaction.atomic(using=self.db):
            due = list(upcoming.select_for_update(skip_locked=True).values_list("pk", flat=True)[:BATCH])
            return self.filter(pk__in=due).update(status=Status.QUEUED)

    def prune(self, status: str, finished_before: datetime) -> int:
        """Delete the jobs that ended so before then, in batches; returns how many."""
        # A job is made before it ends, and ids sort by the time they were made: only old ones are looked at.
        old = self.filter(status=status, finished_at__lt=finished_before, id__lt=first_id_at(finished_before))
        return delete_in_batches(old)

    def claim(
        self, worker: str, *, limit: int = 1, queues: Collection[str] | None = None, by_age: bool = False
    ) -> list[Any]:
        """Take up to limit due jobs for this worker: they are running, under a lease, and nobody else's.

        by_age: prefer those that have waited longest to those of the highest priority.
        """
        if not self._anything_due(queues):
            return []
        due = self.longest_waiting(queues) if by_age else self.due(queues)
        with transaction.atomic(using=self.db):
            chosen = list(due.select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
            self.filter(pk__in=chosen).update(
                status=Status.RUNNING,
                attempt=F("attempt") + 1,
                worker=worker,
                started_at=Now(),
                lease_expires_at=Now() + LEASE,
                progress={"percent": 0, "message": ""},
            )
            claimed = self.in_bulk(chosen)
        return [claimed[pk] for pk in chosen]

    def _anything_due(self, queues: Collection[str] | None) -> bool:
        """Whether a claim is worth a transaction; it also queues what has become due."""
        if self.filter(status__in=UPCOMING, run_at__lte=Now()).exists():
            self.queue_what_is_due()
        return self.due(queues).exists()


def first_id_at(moment: datetime) -> UUID:
    """The least UUIDv7 (RFC 9562, 5.7) of this moment: its first 48 bits are milliseconds since 1970."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def delete_in_batches(rows: models.QuerySet[Any]) -> int:
    """Delete rows a batch at a time; returns how many."""
    deleted = 0
    while batch := list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        deleted += rows.filter(pk__in=batch).delete()[0]
    return deleted
