"""What all brokers share: jobs are claimed from their rows, and a broker only tells when a claim is worth trying.

So a message that is lost, duplicated or late does no harm, and priorities and queues work alike on every broker.
"""

import time
from collections.abc import Callable, Mapping
from functools import cache, cached_property, partial

from django.db import close_old_connections
from django_q.conf import Conf

from jobs.brokers.pauses import PausedKinds
from jobs.models import Job
from jobs.models.claiming import CanBatch
from jobs.registry import kinds

QUEUE_DUE_EVERY = 0.2
"""Seconds between two updates of jobs that have become due, and between two checks of the database connections."""
OLDEST_FIRST_EVERY = 8
"""Every eighth claim takes the job that has waited longest, so that high priorities cannot starve low ones."""


class ClaimingBroker:
    """A mixin for django-q's brokers."""

    list_key: str
    for_pools = False
    """True in an I/O worker, which claims for pools of threads and is woken only by their jobs."""
    _claims = 0
    _queue_due_at = 0.0

    @property
    def queue_name(self) -> str:
        """The queue that is served; the cluster's own name if it serves all queues."""
        return self.list_key

    @property
    def queues(self) -> list[str] | None:
        """The queues that this cluster serves. None means all, unless it was started with --queue."""
        return None if self.queue_name == Conf.PREFIX else [self.queue_name]

    @property
    def pools(self) -> list[str]:
        """The pools of all kinds that run in threads."""
        return [kind.pool for kind in kinds() if kind.threads]

    def claim(self, worker: str, limit: int, can_batch: CanBatch) -> list[Job]:
        """Claim up to limit due jobs for this worker's main thread, best first (ClaimQuerySet.claim).

        Claims only kinds that this process knows: during a rolling deployment the others wait for a newer worker.
        None of a paused kind or queue.
        """
        kinds = _known_kinds()
        if paused := self._paused_kinds.now():
            kinds = tuple(kind for kind in kinds if kind not in paused)
        claim = partial(Job.objects.claim, worker, limit=limit, queues=self.queues, kinds=kinds, can_batch=can_batch)
        return self._claim_in_turn(claim)

    def claim_for_pools(self, worker: str, free: Mapping[str, int]) -> list[Job]:
        """Claim due jobs for this worker's pools. free: idle threads by kind (ClaimQuerySet.claim_for_pools)."""
        if paused := self._paused_kinds.now():
            free = {kind: threads for kind, threads in free.items() if kind not in paused}
            if not free:
                return []
        queue = self.queues and self.queues[0]
        return self._claim_in_turn(partial(Job.objects.claim_for_pools, worker, free, queue=queue or None))

    def wake_for_due_jobs(self) -> None:
        """Called by dispatchers once a second: wake workers for due jobs that no notification was sent for."""

    @cached_property
    def _paused_kinds(self) -> PausedKinds:
        return PausedKinds()

    def _claim_in_turn(self, claim: Callable[..., list[Job]]) -> list[Job]:
        """By priority, and at every OLDEST_FIRST_EVERY-th call by age."""
        if time.monotonic() >= self._queue_due_at:
            close_old_connections()
            Job.objects.queue_due()
            self._queue_due_at = time.monotonic() + QUEUE_DUE_EVERY
        self._claims += 1
        starved = claim(by_age=True) if self._claims % OLDEST_FIRST_EVERY == 0 else []
        return starved or claim()


@cache
def _known_kinds() -> tuple[str, ...]:
    return tuple(kind.name for kind in kinds())
