"""What all brokers share: jobs are claimed from their rows, and a broker only tells when a claim is worth trying.

So a message that is lost, duplicated or late does no harm, and priorities and queues work alike on every broker.
"""

import time
from collections.abc import Callable, Collection, Mapping
from functools import cache, cached_property, partial

from django.db import close_old_connections, connection
from django_q.conf import Conf

from jobs.brokers.fair_share import FairShare
from jobs.brokers.pauses import PausedKinds
from jobs.models import Job
from jobs.models.queue.claiming import STARVED_AFTER
from jobs.models.queue.low_water import LowWaters
from jobs.models.statements import CompiledQuery
from jobs.registry import kinds

QUEUE_DUE_EVERY = 0.2
"""Seconds between two updates of jobs that have become due, and between two checks of the database connections."""
OLDEST_FIRST_EVERY = 8
"""Every eighth claim takes the job that has waited longest, so that high priorities cannot starve low ones."""

_OVERDUE = CompiledQuery(lambda: Job.objects.overdue().values_list("pk")[:1])


class ClaimingBroker:
    """A mixin for django-q's brokers."""

    list_key: str
    for_pools = False
    """True in an I/O worker, which claims for pools of threads and is woken only by their jobs."""
    _claims = 0
    _queue_due_at = 0.0
    _fair_share: FairShare | None = None

    @property
    def queue_name(self) -> str:
        """The queue that is served; the cluster's own name if it serves all queues."""
        return self.list_key

    @property
    def queues(self) -> list[str] | None:
        """The queues that this cluster serves: one if it was started with --queue. None means all."""
        return None if self.queue_name == Conf.PREFIX else [self.queue_name]

    @property
    def pools(self) -> list[str]:
        """The pools of all kinds that run in threads."""
        return [kind.pool for kind in kinds() if kind.threads]

    def claim(self, worker: str, limit: int, short: Collection[str]) -> list[Job]:
        """Claim up to limit due jobs for this worker's main thread, best first (ClaimQuerySet.claim).

        Claims only kinds that this process knows: during a rolling deployment the others wait for a newer worker.
        Skips paused kinds and queues.
        """
        claim = partial(
            Job.objects.claim, worker, limit=limit, queues=self.queues, kinds=self._claimed_kinds(), short=short
        )
        found = self._claim_in_turn(claim, self._low_water if connection.vendor == "postgresql" else None)
        if not found:
            # The worker will be idle: count running jobs now, and claim by priority next, so that a new job waits less.
            self._claims = 0
            self.fair_share.at_ceiling()
        return found

    def claim_for_pools(self, worker: str, free: Mapping[str, int]) -> list[Job]:
        """Claim due jobs for this worker's pools. free: idle threads by kind (ClaimQuerySet.claim_for_pools)."""
        if paused := self._paused_kinds.now():
            free = {kind: threads for kind, threads in free.items() if kind not in paused}
            if not free:
                return []
        queue = self.queues and self.queues[0]
        return self._claim_in_turn(partial(Job.objects.claim_for_pools, worker, free, queue=queue or None))

    def claim_for_others(self, worker: str) -> list[Job]:
        """Claim a due job of a user below the ceiling, if others are at theirs (jobs/worker/reserve.py)."""
        users = self.fair_share.at_ceiling()
        if not users:
            return []
        claim = partial(Job.objects.claim, worker, queues=self.queues, kinds=self._claimed_kinds(), without_users=users)
        found: list[Job] = claim(by_age=True) or claim()
        return found

    @property
    def fair_share(self) -> FairShare:
        """Made at first use, because `for_pools` is set after the forks."""
        if self._fair_share is None:
            self._fair_share = FairShare(in_pools=self.for_pools)
        return self._fair_share

    def wake_for_due_jobs(self) -> None:
        """Called by dispatchers once a second: queue the jobs that became due, and wake workers for them.

        The ORM broker wakes nobody, because its workers poll. It needs this for the reserve worker, which claims queued
        jobs only: while long jobs occupy all other workers, none of these queues what has become due.
        """
        Job.objects.queue_due()

    @cached_property
    def _paused_kinds(self) -> PausedKinds:
        return PausedKinds()

    def _claimed_kinds(self) -> tuple[str, ...]:
        """Those that this process knows and that are not paused."""
        known, paused = _known_kinds(), self._paused_kinds.now()
        return tuple(kind for kind in known if kind not in paused) if paused else known

    @cached_property
    def _low_water(self) -> LowWaters:
        return LowWaters(STARVED_AFTER)

    def _claim_in_turn(self, claim: Callable[..., list[Job]], low_water: LowWaters | None = None) -> list[Job]:
        """By priority; at every OLDEST_FIRST_EVERY-th call first by age. Users at their ceiling get what is left."""
        if low_water:
            claim = partial(_claim_above, claim, low_water)
        if time.monotonic() >= self._queue_due_at:
            close_old_connections()
            if _OVERDUE.rows():
                Job.objects.queue_due()
            self._queue_due_at = time.monotonic() + QUEUE_DUE_EVERY
        self._claims += 1
        by_age = self._claims % OLDEST_FIRST_EVERY == 0
        if users := self.fair_share.passed_over(busy=self._claims > 1):
            started = time.monotonic()
            claim_fairly = partial(claim, without_users=users)
            if found := (claim_fairly(by_age=True) if by_age else []) or claim_fairly():
                return found
            self.fair_share.nobody_else_waits(time.monotonic() - started)
        return (claim(by_age=True) if by_age else []) or claim()


def _claim_above(
    claim: Callable[..., list[Job]], low_water: LowWaters, by_age: bool = False, without_users: tuple[int, ...] = ()
) -> list[Job]:
    marks = low_water.of(by_age=by_age, without_users=without_users)
    return claim(by_age=by_age, without_users=without_users, low_water=marks)


@cache
def _known_kinds() -> tuple[str, ...]:
    return tuple(kind.name for kind in kinds())
