"""Operators' actions on many jobs at once; restart_many() and cancel_many() do what Job's methods do to one job."""

from contextlib import suppress
from typing import Any

from django.db import models
from django.db.models import F
from django.db.models.functions import Now

from jobs.errors import NotRestartable, UniqueKeyTaken
from jobs.models.states import RESTARTABLE, TERMINAL, UPCOMING, WAITING, Status


class BulkQuerySet(models.QuerySet[Any]):
    """The part of JobQuerySet for operators. Each method skips jobs in other states; returns how many it changed."""

    def restart_many(self) -> int:
        """Job.restart() for failed and cancelled jobs."""
        restartable = self.filter(status__in=RESTARTABLE)
        restarted = restartable.filter(unique_key=None).update(
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
                restarted += 1
        return restarted

    def cancel_many(self) -> int:
        """Job.cancel() for unfinished jobs: what waits is cancelled at once, what runs is asked to stop."""
        waiting = self.filter(status__in=WAITING)
        cancelled = waiting.update(status=Status.CANCELLED, cancel_requested=True, finished_at=Now())
        return cancelled + self.filter(status=Status.RUNNING, cancel_requested=False).update(cancel_requested=True)

    def run_now(self) -> int:
        """Queue scheduled and retrying jobs at once."""
        return self.filter(status__in=UPCOMING).update(status=Status.QUEUED, run_at=Now())

    def set_priority(self, priority: int) -> int:
        """Set the priority of waiting jobs."""
        return self.filter(status__in=WAITING).update(priority=priority)

    def delete_finished(self) -> int:
        return self.filter(status__in=TERMINAL).delete()[0]
