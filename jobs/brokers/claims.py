"""What all our brokers have in common: jobs are claimed from their rows. A broker only says when it is worth a look.

So a message that is lost, doubled or late does no harm, and priorities, queues and promises are the same on each.
"""

import time
from collections.abc import Collection
from functools import partial

from django.db import close_old_connections
from django_q.conf import Conf

from jobs.models import Job
from jobs.queue import MayFollow

LOOK_EVERY = 0.2
"""Seconds between two looks at what has become due, and at whether the connections are still good."""
NEGLECTED_EVERY = 8
"""Every eighth claim takes the job that has waited longest, so that no priority can starve another."""


class ClaimsJobs:
    """A mixin for django-q's brokers."""

    list_key: str
    _claims = 0
    _look_at = 0.0

    @property
    def queue_name(self) -> str:
        """The queue that is served, or the cluster's own name when it serves them all."""
        return self.list_key

    @property
    def queues(self) -> list[str] | None:
        """The queues that this cluster serves: all (None), unless it was started for one."""
        return None if self.queue_name == Conf.PREFIX else [self.queue_name]

    def claim(self, worker: str, limit: int, may_follow: MayFollow, without: Collection[str] = ()) -> list[Job]:
        """Take up to limit due jobs for this worker, best first; may_follow, without: see JobQuerySet.claim."""
        if time.monotonic() >= self._look_at:
            self._look()
        self._claims += 1
        claim = partial(
            Job.objects.claim, worker, limit=limit, queues=self.queues, may_follow=may_follow, without=without
        )
        neglected: list[Job] = claim(by_age=True) if self._claims % NEGLECTED_EVERY == 0 else []
        return neglected or claim()

    def notice_what_waits(self) -> None:
        """Said by dispatchers once a second: let those who wait know of jobs that nobody has announced."""

    def _look(self) -> None:
        close_old_connections()
        Job.objects.queue_what_is_due()
        self._look_at = time.monotonic() + LOOK_EVERY
