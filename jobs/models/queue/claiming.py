"""The claim: a worker takes due jobs, which become running under its lease; concurrent claims get different jobs."""

import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any, Self, cast
from uuid import UUID

from django.db import DatabaseError, InterfaceError, models
from django.db.models import Q
from django.db.models.functions import Now

from jobs.models.queue import sql
from jobs.models.queue.batch import first_batch
from jobs.models.queue.claim import Claim
from jobs.models.queue.clock import database_now
from jobs.models.queue.due import BY_OWNER, MAIN_THREAD, due
from jobs.models.queue.low_water import MANY_PAGES, SLOW_CLAIM, SLOW_LOOK, LowWater
from jobs.models.states import Status
from jobs.registry import REMOTE_POOL

RECENT = 1000
"""Finished jobs whose priorities a slow claim looks at."""


class ClaimQuerySet(models.QuerySet[Any]):
    """The part of JobQuerySet with which workers claim."""

    def claim(self, claim: Claim, low_water: LowWater | None = None) -> list[Any]:
        """Claim the due jobs that this claim asks for: they are running, under a lease of its worker.

        low_water: where to start, learnt from earlier claims that are equal; None from the beginning. Raises
        IntegrityError if a remote worker holds a job already (Job.Meta.constraints).
        """
        if self.query.where:
            raise TypeError("a claim takes from all jobs: restrict it by its arguments, not by a filter")
        self._for_write = True
        if low_water is None:
            return self._take(claim)[0]
        if low_water.marks:
            return self._claim_above_marks(claim, low_water)
        found, slow = self._take(claim)
        if slow and low_water.may_ask():
            with suppress(DatabaseError, InterfaceError):  # the jobs are claimed: their worker must get them
                if sql.sql_for(self.db).pages_of_look(self, claim) > MANY_PAGES:
                    self._look_from_beginning(claim, low_water)
        return found

    def matching(self, claim: Claim) -> Self:
        """The due jobs that this claim may take, best first. For threads: the claim of one pool."""
        if claim.owner is not None:
            rows = self.filter(BY_OWNER, user=claim.owner)
        else:
            rows = self.filter(due(by_age=claim.by_age, in_one_queue=claim.in_one_queue), pool=claim.pool)
        if claim.overdue is not None:
            rows = rows.filter(run_at__lt=Now() - claim.overdue)
        if claim.queues is not None:
            rows = rows.filter(queue__in=claim.queues)
        if claim.without_users:
            rows = rows.exclude(user__in=claim.without_users)
        if claim.kinds is not None:
            rows = rows.filter(kind__in=claim.kinds)
        return rows.order_by("run_at") if claim.by_age else rows.order_by("-priority", "run_at")

    def first_due(self, pools: Collection[str], queues: Collection[str] | None = None) -> UUID | None:
        """The id of a job that one of these pools could start now."""
        for pool in pools:
            claim = Claim("", pool=pool, queues=None if queues is None else tuple(queues))
            if first := self.matching(claim).values_list("pk", flat=True).first():
                return UUID(str(first))
        return None

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

    def _take(self, claim: Claim) -> tuple[list[Any], bool]:
        """The claimed jobs, and whether the search for them was slow.

        Two candidates decide how many rows to lock: other workers cannot see rows that are locked and not claimed, and
        may go idle. The planner reads so few in index order, whatever its statistics say.
        """
        statements, started = sql.sql_for(self.db), time.monotonic()
        if claim.threads is not None:
            return statements.claim_for_threads(self, claim), False
        if claim.limit == 1:
            found = statements.claim_first(self, claim)
            return found, time.monotonic() - started > SLOW_CLAIM
        candidates = first_batch(statements.look(self, claim, 2), claim.short)
        slow = time.monotonic() - started > SLOW_LOOK
        if len(candidates) == 2:
            return statements.claim_batch(self, claim), slow
        return statements.claim_first(self, claim) if candidates else [], slow

    def _claim_above_marks(self, claim: Claim, low_water: LowWater) -> list[Any]:
        """When a look from the beginning is due, a busy worker does it before the claim, an idle one after a claim that
        found nothing. After a claim by age that found nothing, claims by age pause for a while.
        """
        if not low_water.may_claim():
            return []
        if not low_water.is_full_look_due():
            found = self._take_and_learn(claim, low_water)
            if found or not low_water.may_look_fully():
                return found
        return self._take_and_learn(claim, low_water) if self._look_from_beginning(claim, low_water) else []

    def _take_and_learn(self, claim: Claim, low_water: LowWater) -> list[Any]:
        started, marks = time.monotonic(), low_water.marks
        found, _ = self._take(replace(claim, marks=marks))
        if marks:
            with suppress(DatabaseError, InterfaceError):  # the jobs are claimed: their worker must get them
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
