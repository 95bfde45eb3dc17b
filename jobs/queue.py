"""The queue's verbs on many rows: what is due, and who claims it."""

from collections.abc import Collection
from datetime import timedelta
from typing import Any, Self

from django.db import models, transaction
from django.db.models import F
from django.db.models.functions import Now

from jobs.states import TERMINAL, UPCOMING, Status

LEASE = timedelta(seconds=30)
"""How long a claim is good for unless its worker renews it."""


class JobQuerySet(models.QuerySet[Any]):
    def due(self, queues: Collection[str] | None = None) -> Self:
        """What a free worker may take now, best first: by priority, then by age. queues: None means all."""
        rows = self.filter(status=Status.QUEUED).order_by("-priority", "run_at")
        return rows if queues is None else rows.filter(queue__in=queues)

    def unfinished(self) -> Self:
        return self.exclude(status__in=TERMINAL)

    def expired(self) -> Self:
        """Running jobs whose worker has not renewed their lease: it is dead, stuck or cut off."""
        return self.filter(status=Status.RUNNING, lease_expires_at__lt=Now()).order_by("lease_expires_at")

    def running_on(self, worker: str) -> Self:
        return self.filter(status=Status.RUNNING, worker=worker)

    def queue_what_is_due(self) -> int:
        """Turn scheduled and retrying jobs whose time has come into queued ones; returns how many."""
        return self.filter(status__in=UPCOMING, run_at__lte=Now()).update(status=Status.QUEUED)

    def claim(self, worker: str, *, limit: int = 1, queues: Collection[str] | None = None) -> list[Any]:
        """Take up to limit due jobs for this worker: they are running, under a lease, and nobody else's."""
        if not self.due(queues).exists():
            return []
        with transaction.atomic(using=self.db):
            chosen = list(self.due(queues).select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
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
