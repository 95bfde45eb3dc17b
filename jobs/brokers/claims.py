"""What all our brokers have in common: jobs are claimed from their rows. A broker only says when it is worth a look.

So a message that is lost, doubled or late does no harm, and priorities, queues and promises are the same on each.
"""

import time
from collections.abc import Callable, Mapping
from functools import cache, partial

from django.db import close_old_connections
from django_q.conf import Conf

from jobs.models import Job
from jobs.models.claiming import CanBatch
from jobs.registry import kinds

LOOK_EVERY = 0.2
"""Seconds between two looks at what has become due, and at whether the connections are still good."""
NEGLECTED_EVERY = 8
"""Every eighth claim takes the job that has waited longest, so that no priority can starve another."""


class ClaimsJobs:
    """A mixin for django-q's brokers."""

    list_key: str
    for_pools = False
    """True in an I/O worker, which claims for pools of threads and is woken for their jobs."""
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

    @property
    def pools(self) -> list[str]:
        """The kinds that run in threads."""
        return [kind.pool for kind in kinds() if kind.pool]

    def claim(self, worker: str, limit: int, can_batch: CanBatch) -> list[Job]:
        """Take up to limit due jobs for this worker's main thread, best first; see ClaimQuerySet.claim.

        Only kinds that this process knows: during a rolling deployment the others wait for a newer worker.
        """
        claim = partial(
            Job.objects.claim, worker, limit=limit, queues=self.queues, kinds=_known_kinds(), can_batch=can_batch
        )
        return self._by_turns(claim)

    def claim_for_pools(self, worker: str, free: Mapping[str, int]) -> list[Job]:
        """Take due jobs for this worker's pools of threads; free: by kind, see ClaimQuerySet.claim_for_pools."""
        queue = self.queues and self.queues[0]
        return self._by_turns(partial(Job.objects.claim_for_pools, worker, free, queue=queue or None))

    def _by_turns(self, claim: Callable[..., list[Job]]) -> list[Job]:
        if time.monotonic() >= self._look_at:
            self._look()
        self._claims += 1
        neglected = claim(by_age=True) if self._claims % NEGLECTED_EVERY == 0 else []
        return neglected or claim()

    def notice_what_waits(self) -> None:
        """Said by dispatchers once a second: let those who wait know of jobs that nobody has announced."""

    def _look(self) -> None:
        close_old_connections()
        Job.objects.queue_what_is_due()
        self._look_at = time.monotonic() + LOOK_EVERY


@cache
def _known_kinds() -> tuple[str, ...]:
    return tuple(kind.name for kind in kinds())
