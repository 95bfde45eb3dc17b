"""Operators' actions on many jobs at once; restart_many() and cancel_many() do what Job's methods do to one job."""

from contextlib import suppress
from typing import Any
from uuid import UUID

from django.db import models, transaction
from django.db.models import F
from django.db.models.functions import Now

from jobs.errors import NotRestartable, UniqueKeyTaken
from jobs.models.states import RESTARTABLE, TERMINAL, UPCOMING, WAITING, Status

CANCELLED = {"status": Status.CANCELLED, "cancel_requested": True, "finished_at": Now()}


class BulkQuerySet(models.QuerySet[Any]):
    """The part of JobQuerySet for operators, for batches of some hundred jobs.

    Each method skips jobs in other states, and returns the ids of those that it changed.
    """

    def restart_many(self) -> list[UUID]:
        """Job.restart() for failed and cancelled jobs."""
        restartable = self.filter(status__in=RESTARTABLE)
        restarted = restartable.filter(unique_key=None)._change(
            status=Status.QUEUED,
            run_at=Now(),
            finished_at=None,
            cancel_requested=False,
            progress={"percent": 0, "message": ""},
            max_attempts=F("attempt") + F("budget"),
        )
        for job in restartable.exclude(unique_key=None).defer("errors", "result"):
            with suppress(NotRestartable, UniqueKeyTaken):
                job.restart()
                restarted.append(job.pk)
        return restarted

    def cancel_many(self) -> list[UUID]:
        """Job.cancel() for unfinished jobs: what waits is cancelled at once, what runs is asked to stop."""
        cancelled = self.filter(status__in=WAITING)._change(**CANCELLED)
        running = self.filter(status=Status.RUNNING, cancel_requested=False)
        return cancelled + running._change(cancel_requested=True)

    def cancel_waiting(self) -> int:
        """Cancel any number of jobs that wait, in one statement; returns how many."""
        return self.filter(status__in=WAITING).update(**CANCELLED)

    def run_now(self) -> list[UUID]:
        """Queue scheduled and retrying jobs at once."""
        return self.filter(status__in=UPCOMING)._change(status=Status.QUEUED, run_at=Now())

    def set_priority(self, priority: int) -> list[UUID]:
        """Set the priority of waiting jobs."""
        return self.filter(status__in=WAITING)._change(priority=priority)

    def delete_finished(self) -> list[UUID]:
        with transaction.atomic(using=self._writes_to()):
            ids = self.filter(status__in=TERMINAL)._lock()
            self.model.objects.filter(pk__in=ids).delete()
        return ids

    def _change(self, **values: Any) -> list[UUID]:
        with transaction.atomic(using=self._writes_to()):
            ids = self._lock()
            self.model.objects.filter(pk__in=ids).update(**values)
        return ids

    def _lock(self) -> list[UUID]:
        """The ids of these jobs, in whose states nothing changes before the end of the transaction."""
        return list(self.order_by("pk").select_for_update(of=("self",)).values_list("pk", flat=True))

    def _writes_to(self) -> str:
        self._for_write = True
        return self.db
