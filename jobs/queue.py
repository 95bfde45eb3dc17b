"""The queue's verbs on many rows: what is due, and who claims it."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from copy import copy
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

import structlog
from django.db import connections, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from jobs import postgresql
from jobs.errors import LeaseLost
from jobs.states import TERMINAL, UPCOMING, Status

log = structlog.get_logger(__name__)

MayFollow = Callable[[str, bool, int], bool]
"""Of a due job: its kind; whether it is delicate, which is to say that another lost attempt may be its last; and how
many of its kind are claimed before it."""

Wanted = tuple[bool, tuple[str, ...] | None, tuple[str, ...]]
"""Of which jobs a claim takes the first: by_age, queues, without."""

_firsts: dict[Wanted, tuple[str, tuple[Any, ...]]] = {}
"""The query for the first and its parameters: Django is as slow to put it together as the database to answer."""

LEASE = timedelta(seconds=30)
"""How long a claim is good for unless its worker renews it."""
BATCH = 500
"""How many rows one statement of housekeeping touches, so that it never locks the table for long."""
PATIENCE = timedelta(seconds=10)
"""How long a job is passed over for the sake of higher priorities before it counts as neglected."""

# What the queries for due jobs ask for, and what their indexes (in jobs.models) hold. The second half of each is always
# true: it keeps an index for its own query. Where statistics from a quiet hour say that hardly anything is queued, the
# planner, free to choose, takes any of these indexes and sorts all that waits, at every claim.
BY_PRIORITY = Q(status=Status.QUEUED, priority__gte=-(2**15))
BY_PRIORITY_IN_QUEUE = Q(status=Status.QUEUED, priority__lte=2**15 - 1)
BY_AGE = Q(status=Status.QUEUED, attempt__gte=0)


class JobQuerySet(models.QuerySet[Any]):
    def due(self, queues: Collection[str] | None = None) -> Self:
        """What a free worker may take now, best first: by priority, then by age. queues: None means all."""
        of_one = queues is not None and len(queues) == 1
        rows = self.filter(BY_PRIORITY_IN_QUEUE if of_one else BY_PRIORITY).order_by("-priority", "run_at")
        return rows if queues is None else rows.filter(queue__in=queues)

    def longest_waiting(self, queues: Collection[str] | None = None) -> Self:
        """What has been due for more than PATIENCE, oldest first and whatever its priority."""
        rows = self.filter(BY_AGE, run_at__lt=Now() - PATIENCE).order_by("run_at")
        return rows if queues is None else rows.filter(queue__in=queues)

    def unfinished(self) -> Self:
        return self.exclude(status__in=TERMINAL)

    def expired(self) -> Self:
        """Running jobs whose worker has not renewed their lease: it is dead, stuck or cut off."""
        return self.filter(status=Status.RUNNING, lease_expires_at__lt=Now()).order_by("lease_expires_at")

    def running_on(self, worker: str) -> Self:
        return self.filter(status=Status.RUNNING, worker=worker)

    def without_history(self) -> Self:
        """Without what attempts have left behind, which may be large: it is read when it is asked for."""
        return self.defer(*postgresql.HISTORY)

    def become_due(self) -> Self:
        """Scheduled and retrying jobs whose time has come, in the order of their times and of their index."""
        return self.filter(status__in=UPCOMING, run_at__lte=Now()).order_by("run_at")

    def queue_what_is_due(self) -> int:
        """Turn up to BATCH scheduled and retrying jobs whose time has come into queued ones; returns how many."""
        # Not exists(), which drops the order: the planner may then hope to meet a due job early in the whole table.
        ids = self.become_due().values_list("pk", flat=True)
        if not ids[:1]:
            return 0
        with transaction.atomic(using=self.db):
            if self._on_postgresql:
                postgresql.read_in_order_of_index(self)
            due = list(ids.select_for_update(skip_locked=True)[:BATCH])
            return self.filter(pk__in=due).update(status=Status.QUEUED)

    def prune(self, status: str, finished_before: datetime) -> int:
        """Delete the jobs that ended so before then, in batches; returns how many."""
        # A job is made before it ends, and ids sort by the time they were made: only old ones are looked at.
        old = self.filter(status=status, finished_at__lt=finished_before, id__lt=first_id_at(finished_before))
        return delete_in_batches(old)

    def claim(
        self,
        worker: str,
        *,
        limit: int = 1,
        queues: Collection[str] | None = None,
        by_age: bool = False,
        may_follow: MayFollow = lambda kind, delicate, before: True,
        without: Collection[str] = (),
    ) -> list[Any]:
        """Take up to limit of all due jobs for this worker: they are running, under a lease, and nobody else's.

        by_age: prefer those that have waited longest to those of the highest priority. may_follow: asked for each job
        in turn, whether it may be claimed with others. without: kinds that are left where they are.
        """
        if self.query.where:
            raise TypeError("claim() takes from all jobs: its arguments, and no filter, say which it leaves")
        self._for_write = True
        wanted: Wanted = (by_age, None if queues is None else tuple(queues), tuple(without))
        if limit == 1 and self._on_postgresql:
            return self._claim_first(worker, wanted)
        due = self._wanted(*wanted)
        count = due._claimable(limit, may_follow)
        if count == 1 and self._on_postgresql:
            return self._claim_first(worker, wanted)
        return self._claim_together(due, worker, count, may_follow) if count else []

    def insert(self, job: Any) -> None:
        """job.save() for a new one, whose values are plain JSON where they are JSON."""
        self._for_write = True
        if self._on_postgresql:
            postgresql.insert(self, job)
        else:
            job.save(force_insert=True, using=self.db)

    def insert_alike(self, template: Any, rows: Sequence[tuple[UUID, object]]) -> None:
        """Insert a job like the template for each of these ids and params, in one statement where that is possible."""
        self._for_write = True
        if self._on_postgresql:
            postgresql.insert_alike(self, template, rows)
        else:
            self.bulk_create([_like(template, pk, params) for pk, params in rows])

    def succeed_many(self, worker: str, results: Sequence[tuple[Any, object]]) -> None:
        """Job.succeed() for many running jobs of this worker at once; one whose lease is lost is left as it is."""
        if self._on_postgresql:
            ended = postgresql.succeed_many(self, worker, results)
        else:
            ended = self._succeed_in_one_transaction(results)
        for job, _ in results:
            if job.pk in ended:
                log.info("job_left_running", job_id=str(job.pk), attempt=job.attempt, status=Status.SUCCEEDED)
            else:
                log.warning("job_lease_lost", job_id=str(job.pk), attempt=job.attempt)

    def hand_back_many(self, worker: str, jobs: Sequence[Any]) -> None:
        """Job.hand_back() for many jobs that this worker has claimed and not begun, in one statement."""
        held = self.running_on(worker).filter(pk__in=[job.pk for job in jobs])
        count = held.filter(cancel_requested=False).update(
            status=Status.QUEUED, attempt=F("attempt") - 1, lease_expires_at=None
        )
        log.info("jobs_handed_back", worker=worker, count=count)
        # Only these: what has just been handed back may be ours again.
        for job in held.filter(cancel_requested=True).without_history():
            with suppress(LeaseLost):
                job.give_up()

    def _succeed_in_one_transaction(self, results: Sequence[tuple[Any, object]]) -> set[UUID]:
        ended = set()
        with transaction.atomic(using=self.db):
            for job, result in results:
                with suppress(LeaseLost):
                    job.succeed(result)
                    ended.add(job.pk)
        return ended

    @property
    def _on_postgresql(self) -> bool:
        return connections[self.db].vendor == "postgresql"

    def _wanted(self, by_age: bool, queues: Collection[str] | None, without: Collection[str]) -> Self:
        due = self.longest_waiting(queues) if by_age else self.due(queues)
        return due.exclude(kind__in=without) if without else due

    def _claim_first(self, worker: str, wanted: Wanted) -> list[Any]:
        if wanted not in _firsts:
            first = self._wanted(*wanted).values("pk")[:1]
            _firsts[wanted] = first.query.get_compiler(using=self.db).as_sql()
        return postgresql.claim_first(self, *_firsts[wanted], worker, LEASE)

    def _claimable(self, limit: int, may_follow: MayFollow) -> int:
        """How many rows to lock: what is locked and not claimed would not exist for others, who might go to sleep.

        Two of them tell, and with so few no statistics talk the planner into sorting all that waits.
        """
        count = len(startable(self._candidates(min(limit, 2)), may_follow))
        return limit if count == 2 else count

    def _candidates(self, limit: int) -> "list[Candidate]":
        rows = self.values_list("pk", "kind", "attempt", "max_attempts")[:limit]
        return [(pk, kind, attempt > 0 or most == 1) for pk, kind, attempt, most in rows]

    def _claim_together(self, due: Self, worker: str, limit: int, may_follow: MayFollow) -> list[Any]:
        with transaction.atomic(using=self.db):
            candidates = due.select_for_update(skip_locked=True)._candidates(limit)
            chosen = [pk for pk, *_ in startable(candidates, may_follow)]
            claimed = {job.pk: job for job in self._claim_locked(chosen, worker)} if chosen else {}
        return [claimed[pk] for pk in chosen]

    def _claim_locked(self, ids: Collection[UUID], worker: str) -> Collection[Any]:
        if self._on_postgresql:
            return postgresql.claim_all(self, ids, worker, LEASE)
        self.filter(pk__in=ids).update(
            status=Status.RUNNING,
            attempt=F("attempt") + 1,
            worker=worker,
            started_at=Now(),
            lease_expires_at=Now() + LEASE,
            progress={"percent": 0, "message": ""},
        )
        return self.without_history().in_bulk(ids).values()


def _like(template: Any, pk: UUID, params: object) -> Any:
    job = copy(template)
    job.pk, job.params = pk, params
    return job


Candidate = tuple[UUID, str, bool]
"""A due job: id, kind, delicate."""


def startable(candidates: Sequence[Candidate], may_follow: MayFollow) -> list[Candidate]:
    """Of due jobs, best first: as many of the first as may be claimed together, or else the first alone."""
    before: Counter[str] = Counter()
    together = []
    for candidate in candidates:
        _, kind, delicate = candidate
        if not may_follow(kind, delicate, before[kind]):
            break
        before[kind] += 1
        together.append(candidate)
    return together or list(candidates[:1])


def first_id_at(moment: datetime) -> UUID:
    """The least UUIDv7 (RFC 9562, 5.7) of this moment: its first 48 bits are milliseconds since 1970."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)


def delete_in_batches(rows: models.QuerySet[Any]) -> int:
    """Delete rows a batch at a time; returns how many."""
    deleted = 0
    while batch := list(rows.order_by("pk").values_list("pk", flat=True)[:BATCH]):
        deleted += rows.filter(pk__in=batch).delete()[0]
    return deleted
