"""The claim: a worker takes due jobs, which become running under its lease; concurrent claims get different jobs.

A job's pool says which sort of worker claims it: empty for kinds that run in a worker's main thread, otherwise the name
of its kind, whose threads in the I/O workers are a pool. All remote kinds have one pool, from which a remote worker
claims the jobs of its own user. So every claim finds its jobs at the head of an index, whatever else waits.
"""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, Self, cast
from uuid import UUID

from django.db import DatabaseError, InterfaceError, models
from django.db.models import Q
from django.db.models.functions import Now

from jobs.models.queue import sql
from jobs.models.queue.batch import first_batch
from jobs.models.queue.clock import database_now
from jobs.models.queue.leases import LEASE
from jobs.models.queue.low_water import MANY_PAGES, SLOW_CLAIM, SLOW_LOOK, LowWater, Marks
from jobs.models.states import Status
from jobs.registry import REMOTE_POOL

STARVED_AFTER = timedelta(seconds=10)
"""How long a due job is passed over for higher priorities before a claim by age takes it."""

RECENT = 1000
"""Finished jobs whose priorities a slow claim looks at."""

MAIN_THREAD = ""
"""The pool of kinds without threads=."""

# The conditions of the queries for due jobs and of their partial indexes (Job.Meta). The second half of the first three
# is always true and ties the query to its own index. Otherwise, where statistics from a quiet hour say that hardly
# anything is queued, the planner takes any of these indexes and sorts all waiting jobs at every claim.
BY_PRIORITY = Q(status=Status.QUEUED, priority__gte=-(2**15))
BY_PRIORITY_IN_QUEUE = Q(status=Status.QUEUED, priority__lte=2**15 - 1)
BY_AGE = Q(status=Status.QUEUED, attempt__gte=0)
BY_OWNER = Q(status=Status.QUEUED, pool=REMOTE_POOL)


@dataclass(frozen=True)
class Claim:
    """Which due jobs a claim may take.

    queues, kinds: None means all. by_age: the longest waiting first. without_users: users whose jobs are passed over.
    marks: where it starts (low_water.py); None from the beginning. overdue: how long a job must have been due for a
    claim by age.
    """

    pool: str
    queues: tuple[str, ...] | None
    kinds: tuple[str, ...] | None
    by_age: bool
    without_users: tuple[int, ...] = ()
    marks: Marks | None = None
    overdue: timedelta = field(default_factory=lambda: STARVED_AFTER)


class ClaimQuerySet(models.QuerySet[Any]):
    """The part of JobQuerySet with which workers claim."""

    def due(self, queues: Collection[str] | None = None) -> Self:
        """Claimable jobs, best first: by priority, then by age. queues: None means all."""
        of_one = queues is not None and len(queues) == 1
        rows = self.filter(BY_PRIORITY_IN_QUEUE if of_one else BY_PRIORITY).order_by("-priority", "run_at")
        return rows if queues is None else rows.filter(queue__in=queues)

    def longest_waiting(self, queues: Collection[str] | None = None) -> Self:
        """Claimable jobs that have been due for more than STARVED_AFTER, oldest first, regardless of priority."""
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
        without_users: Collection[int] = (),
        short: Collection[str] | None = None,
        low_water: LowWater | None = None,
    ) -> list[Any]:
        """Claim up to `limit` due jobs for this worker's main thread: they are running, under a lease.

        queues, kinds: only these; None means all. by_age: the longest waiting first, not the highest priority.
        without_users: passes over their jobs.
        short: kinds whose jobs may be claimed together; None means all. Any other job, and one that was tried before or
        may not be tried again, ends the batch, or is claimed alone.
        low_water: where to start, learnt from earlier claims with the same arguments; None from the beginning.
        """
        self._require_unfiltered()
        claim = Claim(MAIN_THREAD, _tuple(queues), _tuple(kinds), by_age, tuple(without_users))
        take = partial(self._take, worker=worker, limit=limit, short=_tuple(short))
        if low_water and low_water.marks:
            return self._take_above_marks(claim, take, low_water)
        found, slow = take(claim)
        if low_water and slow and low_water.may_ask():
            with suppress(DatabaseError, InterfaceError):  # the jobs are claimed: their worker must get them
                if sql.sql_for(self.db).pages_of_look(self, claim) > MANY_PAGES:
                    self._look_from_beginning(claim, low_water)
        return found

    def _take(self, claim: Claim, worker: str, limit: int, short: tuple[str, ...] | None) -> tuple[list[Any], bool]:
        """The claimed jobs, and whether it was slow."""
        started = time.monotonic()
        if limit == 1:
            found = sql.sql_for(self.db).claim_first(self, claim, worker, LEASE)
            return found, time.monotonic() - started > SLOW_CLAIM
        count = self._batch_size(claim, limit, short)
        slow = time.monotonic() - started > SLOW_LOOK
        return self._claim_up_to(claim, worker, count, short), slow

    def _take_above_marks(self, claim: Claim, take: "Take", low_water: LowWater) -> list[Any]:
        """Claim above the marks. When a look from the beginning is due, a busy worker does it before the claim, an idle
        one after a claim that found nothing. After a claim by age that found nothing, claims by age pause for a while.
        """
        if not low_water.may_claim():
            return []
        if not low_water.is_full_look_due():
            found = self._take_and_learn(claim, take, low_water)
            if found or not low_water.may_look_fully():
                return found
        return self._take_and_learn(claim, take, low_water) if self._look_from_beginning(claim, low_water) else []

    def _take_and_learn(self, claim: Claim, take: "Take", low_water: LowWater) -> list[Any]:
        started, marks = time.monotonic(), low_water.marks
        found, _ = take(replace(claim, marks=marks or None))
        if marks:
            with suppress(DatabaseError, InterfaceError):  # see claim()
                seconds = time.monotonic() - started
                low_water.learn(found, found[0].started_at if found else database_now(), seconds=seconds)
        return found

    def _look_from_beginning(self, claim: Claim, low_water: LowWater) -> bool:
        """True if it found a job. Claims then start at it; after a quick look they need no marks."""
        started = time.monotonic()
        first = self.matching(claim).values_list("priority", "run_at", named=True).first()
        if (seconds := time.monotonic() - started) > SLOW_LOOK:
            low_water.start_at(first, seconds, database_now(), self.recent_priorities())
        else:
            low_water.forget()
        return first is not None

    def _claim_up_to(self, claim: Claim, worker: str, count: int, short: tuple[str, ...] | None) -> list[Any]:
        if count == 1:
            return sql.sql_for(self.db).claim_first(self, claim, worker, LEASE)
        return sql.sql_for(self.db).claim_batch(self, claim, worker, LEASE, count, short) if count else []

    def claim_for_pools(
        self,
        worker: str,
        free: Mapping[str, int],
        *,
        queue: str | None = None,
        by_age: bool = False,
        without_users: Collection[int] = (),
    ) -> list[Any]:
        """Claim due jobs for this worker's pools of threads, per kind at most as many as it has free threads.

        queue: None means all. by_age, without_users: see claim().
        """
        self._require_unfiltered()
        overdue = STARVED_AFTER if by_age else None
        return sql.sql_for(self.db).claim_for_pools(self, worker, free, LEASE, queue, overdue, tuple(without_users))

    def claim_for_owner(self, worker: str, owner: int, kinds: Collection[str]) -> Any:
        """Claim the best due job of this user for a remote worker; None if there is none.

        Raises IntegrityError if the worker holds a job already (Job.Meta.constraints).
        """
        self._require_unfiltered()
        due = self.filter(BY_OWNER, user=owner, kind__in=kinds).order_by("-priority", "run_at")
        return next(iter(sql.sql_for(self.db).claim_best(self, due, worker, LEASE)), None)

    def matching(self, claim: Claim) -> Self:
        """The due jobs that this claim may take, best first."""
        due = self.longest_waiting(claim.queues) if claim.by_age else self.due(claim.queues)
        due = due.filter(pool=claim.pool)
        if claim.without_users:
            due = due.exclude(user__in=claim.without_users)
        return due if claim.kinds is None else due.filter(kind__in=claim.kinds)

    def due_in_pool(self, pool: str, queue: str | None, *, by_age: bool, without_users: tuple[int, ...] = ()) -> Self:
        return self.matching(Claim(pool, None if queue is None else (queue,), None, by_age, without_users))

    def running_by_user(self, *, in_pools: bool) -> "models.QuerySet[Any, tuple[int, str, int]]":
        """User, pool and the number of running jobs, in main threads or in pools. Without the project's own jobs.

        Counts valid leases only: that range of their index has no entries, live or dead, of older jobs.
        """
        running = self.filter(status=Status.RUNNING, lease_expires_at__gt=Now(), user__isnull=False)
        main, remote = Q(pool=MAIN_THREAD), Q(pool=REMOTE_POOL)
        running = running.exclude(main | remote) if in_pools else running.filter(main)
        rows = running.order_by().values_list("user", "pool")
        return cast("models.QuerySet[Any, tuple[int, str, int]]", rows.annotate(number=models.Count("pk")))

    def recent_priorities(self) -> set[int]:
        """The priorities of the jobs that finished last: there the index has dead entries."""
        last = self.filter(finished_at__isnull=False).order_by("-finished_at").values_list("priority", flat=True)
        return set(last[:RECENT])

    def _require_unfiltered(self) -> None:
        if self.query.where:
            raise TypeError("a claim takes from all jobs: restrict it by its arguments, not by a filter")
        self._for_write = True

    def _batch_size(self, claim: Claim, limit: int, short: tuple[str, ...] | None) -> int:
        """How many rows to lock: other workers cannot see rows that are locked and not claimed, and may go idle.

        Only two candidates are looked at: the planner reads so few in index order, whatever its statistics say.
        """
        count = len(first_batch(sql.sql_for(self.db).look(self, claim, min(limit, 2)), short))
        return limit if count == 2 else count


Take = Callable[[Claim], tuple[list[Any], bool]]
"""ClaimQuerySet._take() with all other arguments."""


def _tuple(names: Collection[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
