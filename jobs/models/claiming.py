"""The claim: due jobs become running ones under a lease of one worker, whoever else claims at the same moment.

A job's pool says which sort of worker claims it: none for kinds that run in a worker's main thread, otherwise the name
of its kind, whose threads in the I/O workers are a pool. So each claim finds its jobs at the head of an index, whatever
else waits.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from django.db import connections, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from jobs.models import sql
from jobs.models.leases import LEASE
from jobs.models.states import Status

CanBatch = Callable[[str, bool], bool]
"""Of a due job: whether it may be claimed with others. Its kind, and run_alone: one more lost attempt would exhaust its
budget."""

STARVED_AFTER = timedelta(seconds=10)
"""How long a job is passed over for the sake of higher priorities before a claim by age takes it."""

MAIN_THREAD = ""
"""The pool of kinds without threads=."""

# What the queries for due jobs ask for, and what their indexes (in jobs.models) hold. The second half of each is always
# true: it keeps an index for its own query. Where statistics from a quiet hour say that hardly anything is queued, the
# planner, free to choose, takes any of these indexes and sorts all that waits, at every claim.
BY_PRIORITY = Q(status=Status.QUEUED, priority__gte=-(2**15))
BY_PRIORITY_IN_QUEUE = Q(status=Status.QUEUED, priority__lte=2**15 - 1)
BY_AGE = Q(status=Status.QUEUED, attempt__gte=0)


@dataclass(frozen=True)
class Wanted:
    """Of which jobs a claim takes the first. queues, kinds: None means all. by_age: those that have waited longest."""

    pool: str
    queues: tuple[str, ...] | None
    kinds: tuple[str, ...] | None
    by_age: bool


_first_queries: dict[Wanted, tuple[str, tuple[Any, ...]]] = {}
"""The query for the first and its parameters: Django is as slow to put it together as the database to answer."""


class ClaimQuerySet(models.QuerySet[Any]):
    """The part of JobQuerySet that workers claim with."""

    def due(self, queues: Collection[str] | None = None) -> Self:
        """What a free worker may take now, best first: by priority, then by age. queues: None means all."""
        of_one = queues is not None and len(queues) == 1
        rows = self.filter(BY_PRIORITY_IN_QUEUE if of_one else BY_PRIORITY).order_by("-priority", "run_at")
        return rows if queues is None else rows.filter(queue__in=queues)

    def longest_waiting(self, queues: Collection[str] | None = None) -> Self:
        """What has been due for more than STARVED_AFTER, oldest first and whatever its priority."""
        rows = self.filter(BY_AGE, run_at__lt=Now() - STARVED_AFTER).order_by("run_at")
        return rows if queues is None else rows.filter(queue__in=queues)

    def first_due(self, pools: Collection[str], queues: Collection[str] | None = None) -> UUID | None:
        """The id of a job that one of these pools could start now."""
        for pool in pools:
            if first := self.due(queues).filter(pool=pool).values_list("pk", flat=True).first():
                return UUID(str(first))
        return None

    def claim(
        self,
        worker: str,
        *,
        limit: int = 1,
        queues: Collection[str] | None = None,
        kinds: Collection[str] | None = None,
        by_age: bool = False,
        can_batch: CanBatch = lambda kind, run_alone: True,
    ) -> list[Any]:
        """Take up to limit of all due jobs for this worker's main thread: they are running, under a lease.

        kinds: the others are left where they are; None means all. by_age: prefer the longest waiting to those of the
        highest priority. can_batch: asked for each job in turn; without it, a job is claimed alone.
        """
        self._refuse_filter()
        wanted = Wanted(MAIN_THREAD, _tuple(queues), _tuple(kinds), by_age)
        if limit == 1 and self._on_postgresql:
            return self._claim_first(worker, wanted)
        due = self._wanted(wanted)
        count = due._claimable(limit, can_batch)
        if count == 1 and self._on_postgresql:
            return self._claim_first(worker, wanted)
        return self._claim_together(due, worker, count, can_batch) if count else []

    def claim_for_pools(
        self, worker: str, free: Mapping[str, int], *, queue: str | None = None, by_age: bool = False
    ) -> list[Any]:
        """Take due jobs for this worker's pools of threads: for each kind at most as many as it has free threads.

        queue: None means all. by_age: see claim().
        """
        self._refuse_filter()
        if self._on_postgresql:
            return sql.claim_for_pools(self, worker, free, *_first_of_pool(queue, by_age), LEASE)
        queues = None if queue is None else (queue,)
        due = {pool: self._wanted(Wanted(pool, queues, None, by_age)) for pool in free}
        waiting = [pool for pool, rows in due.items() if rows.exists()]  # an idle worker locks nothing
        return self._claim_of_each(waiting, due, free, worker) if waiting else []

    def _claim_of_each(
        self, pools: Sequence[str], due: Mapping[str, Self], free: Mapping[str, int], worker: str
    ) -> list[Any]:
        """In one transaction: an error with one pool must not leave behind what was claimed for another."""
        with transaction.atomic(using=self.db):
            claimed = [self._claim_together(due[pool], worker, free[pool], _any) for pool in pools]
        return [job for jobs in claimed for job in jobs]

    @property
    def _on_postgresql(self) -> bool:
        return connections[self.db].vendor == "postgresql"

    def _refuse_filter(self) -> None:
        if self.query.where:
            raise TypeError("a claim takes from all jobs: its arguments, and no filter, say which it leaves")
        self._for_write = True

    def _wanted(self, wanted: Wanted) -> Self:
        due = self.longest_waiting(wanted.queues) if wanted.by_age else self.due(wanted.queues)
        due = due.filter(pool=wanted.pool)
        return due if wanted.kinds is None else due.filter(kind__in=wanted.kinds)

    def _claim_first(self, worker: str, wanted: Wanted) -> list[Any]:
        if wanted not in _first_queries:
            first = self._wanted(wanted).values("pk")[:1]
            _first_queries[wanted] = first.query.get_compiler(using=self.db).as_sql()
        return sql.claim_first(self, *_first_queries[wanted], worker, LEASE)

    def _claimable(self, limit: int, can_batch: CanBatch) -> int:
        """How many rows to lock: a row that is locked and not claimed is invisible to others, who might go to sleep.

        Two of them tell, and with so few no statistics talk the planner into sorting all that waits.
        """
        count = len(startable(self._candidates(min(limit, 2)), can_batch))
        return limit if count == 2 else count

    def _candidates(self, limit: int) -> "list[Candidate]":
        rows = self.values_list("pk", "kind", "attempt", "max_attempts")[:limit]
        return [(pk, kind, attempt > 0 or most == 1) for pk, kind, attempt, most in rows]

    def _claim_together(self, due: Self, worker: str, limit: int, can_batch: CanBatch) -> list[Any]:
        with transaction.atomic(using=self.db):
            candidates = due.select_for_update(skip_locked=True)._candidates(limit)
            chosen = [pk for pk, *_ in startable(candidates, can_batch)]
            claimed = {job.pk: job for job in self._claim_locked(chosen, worker)} if chosen else {}
        return [claimed[pk] for pk in chosen]

    def _claim_locked(self, ids: Collection[UUID], worker: str) -> Collection[Any]:
        if self._on_postgresql:
            return sql.claim_all(self, ids, worker, LEASE)
        self.filter(pk__in=ids).update(
            status=Status.RUNNING,
            attempt=F("attempt") + 1,
            worker=worker,
            started_at=Now(),
            lease_expires_at=Now() + LEASE,
            progress={"percent": 0, "message": ""},
        )
        return self.defer(*sql.HISTORY).in_bulk(ids).values()


Candidate = tuple[UUID, str, bool]
"""A due job: id, kind, run_alone."""


def _any(kind: str, run_alone: bool) -> bool:
    """Each of a pool's jobs starts in a thread of its own."""
    return True


def startable(candidates: Sequence[Candidate], can_batch: CanBatch) -> list[Candidate]:
    """Of due jobs, best first: as many of the first as may be claimed together, or else the first alone."""
    together = []
    for candidate in candidates:
        _, kind, run_alone = candidate
        if not can_batch(kind, run_alone):
            break
        together.append(candidate)
    return together or list(candidates[:1])


def _first_of_pool(queue: str | None, by_age: bool) -> tuple[str, list[Any]]:
    """The statement's part for PostgreSQL and its values."""
    of_queue = [] if queue is None else [queue]
    if by_age:
        return (sql.BY_AGE_IN_QUEUE if of_queue else sql.BY_AGE), [*of_queue, STARVED_AFTER]
    return (sql.BY_PRIORITY_IN_QUEUE if of_queue else sql.BY_PRIORITY), of_queue


def _tuple(names: Collection[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
