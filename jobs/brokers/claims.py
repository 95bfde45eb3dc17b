"""What all brokers share: jobs are claimed from their rows, and a broker only tells when a claim is worth trying.

So a message that is lost, duplicated or late does no harm, and priorities and queues work alike on every broker.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache, cached_property

from django.db import close_old_connections, connection
from django_q.conf import Conf

from jobs.brokers.fair_share import FairShare
from jobs.brokers.pauses import PausedKinds
from jobs.models import Job
from jobs.models.queue.claim import Claim, orders
from jobs.models.queue.low_water import LowWaters
from jobs.models.statements import CompiledQuery
from jobs.registry import kinds
from rest.every import Every

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
    _fair_share: FairShare | None = None

    @property
    def queue_name(self) -> str:
        """The queue that is served; the cluster's own name if it serves all queues."""
        return self.list_key

    @property
    def queues(self) -> tuple[str, ...] | None:
        """The queues that this cluster serves: one if it was started with --queue. None means all."""
        return None if self.queue_name == Conf.PREFIX else (self.queue_name,)

    @property
    def pools(self) -> list[str]:
        """The pools of all kinds that run in threads."""
        return [kind.pool for kind in kinds() if kind.threads]

    def claim(self, worker: str, limit: int, short: Collection[str]) -> list[Job]:
        """Claim up to limit due jobs for this worker's main thread, best first. short: see Claim.

        Claims only kinds that this process knows: during a rolling deployment the others wait for a newer worker.
        Skips paused kinds and queues.
        """
        found = self._first_found(replace(self._claim_of(worker), limit=limit, short=tuple(short)))
        if not found:
            # The worker will be idle: count running jobs now, and claim by priority next, so that a new job waits less.
            self._claims = 0
            self.fair_share.at_ceiling()
        return found

    def claim_for_pools(self, worker: str, free: Mapping[str, int]) -> list[Job]:
        """Claim due jobs for this worker's pools. free: idle threads by kind, of which each is a pool."""
        paused = self._paused_kinds.now()
        threads = {kind: idle for kind, idle in free.items() if kind not in paused}
        return self._first_found(Claim(worker, queues=self.queues, threads=threads)) if threads else []

    def claim_for_others(self, worker: str) -> list[Job]:
        """Claim a due job of a user below the ceiling, if others are at theirs (jobs/worker/reserve_worker.py)."""
        users = self.fair_share.at_ceiling()
        fair = replace(self._claim_of(worker), without_users=users)
        for claim in orders(fair, by_age=True) if users else ():
            if found := list(Job.objects.claim(claim)):
                return found
        return []

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

    def _claim_of(self, worker: str) -> Claim:
        """Of one job by priority, of the kinds that this process knows and that are not paused."""
        known, paused = _known_kinds(), self._paused_kinds.now()
        kinds = tuple(kind for kind in known if kind not in paused) if paused else known
        return Claim(worker, queues=self.queues, kinds=kinds)

    @cached_property
    def _queue_due(self) -> Every:
        return Every(QUEUE_DUE_EVERY)

    @cached_property
    def _low_water(self) -> LowWaters:
        return LowWaters()

    def _first_found(self, claim: Claim) -> list[Job]:
        """The jobs of the first order that finds any. Every OLDEST_FIRST_EVERY-th time it begins with claims by age."""
        self._queue_what_is_due()
        self._claims += 1
        ceiling = self.fair_share.passed_over(busy=self._claims > 1)
        for each in orders(claim, by_age=self._claims % OLDEST_FIRST_EVERY == 0, ceiling=ceiling):
            if found := self._try(each):
                return found
        return []

    def _try(self, claim: Claim) -> list[Job]:
        """Claims for threads take few jobs at a time, and SQLite has no dead entries: these need no marks."""
        started = time.monotonic()
        has_marks = claim.threads is None and connection.vendor == "postgresql"
        low_water = self._low_water.of(claim.overdue, claim.without_users) if has_marks else None
        found: list[Job] = Job.objects.claim(claim, low_water)
        if claim.without_users and not claim.by_age and not found:
            self.fair_share.nobody_else_waits(time.monotonic() - started)
        return found

    def _queue_what_is_due(self) -> None:
        if self._queue_due.is_due():
            close_old_connections()
            if _OVERDUE.rows():
                Job.objects.queue_due()
            self._queue_due.restart()


@cache
def _known_kinds() -> tuple[str, ...]:
    return tuple(kind.name for kind in kinds())
