"""The queue's verbs on many rows: what is due, and who claims it."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from copy import copy
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any, Self
from uuid import UUID

import orjson
import structlog
from django.db import connections, models, transaction
from django.db.models import F
from django.db.models.functions import Now

from jobs.errors import LeaseLost
from jobs.states import TERMINAL, UPCOMING, Status

log = structlog.get_logger(__name__)

MayFollow = Callable[[str, bool], bool]
"""Of a due job: its kind, and whether it is delicate, which is to say that another lost attempt may be its last."""

LEASE = timedelta(seconds=30)
"""How long a claim is good for unless its worker renews it."""
BATCH = 500
"""How many rows one statement of housekeeping touches, so that it never locks the table for long."""
PATIENCE = timedelta(seconds=10)
"""How long a job is passed over for the sake of higher priorities before it counts as neglected."""


class JobQuerySet(models.QuerySet[Any]):
    def due(self, queues: Collection[str] | None = None) -> Self:
        """What a free worker may take now, best first: by priority, then by age. queues: None means all."""
        rows = self.filter(status=Status.QUEUED).order_by("-priority", "run_at")
        return rows if queues is None else rows.filter(queue__in=queues)

    def longest_waiting(self, queues: Collection[str] | None = None) -> Self:
        """What has been due for more than PATIENCE, oldest first and whatever its priority."""
        return self.due(queues).filter(run_at__lt=Now() - PATIENCE).order_by("run_at")

    def unfinished(self) -> Self:
        return self.exclude(status__in=TERMINAL)

    def expired(self) -> Self:
        """Running jobs whose worker has not renewed their lease: it is dead, stuck or cut off."""
        return self.filter(status=Status.RUNNING, lease_expires_at__lt=Now()).order_by("lease_expires_at")

    def running_on(self, worker: str) -> Self:
        return self.filter(status=Status.RUNNING, worker=worker)

    def queue_what_is_due(self) -> int:
        """Turn scheduled and retrying jobs whose time has come into queued ones; returns how many."""
        upcoming = self.filter(status__in=UPCOMING, run_at__lte=Now())
        with transaction.atomic(using=self.db):
            due = list(upcoming.select_for_update(skip_locked=True).values_list("pk", flat=True)[:BATCH])
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
        may_follow: MayFollow = lambda kind, delicate: True,
        without: Collection[str] = (),
    ) -> list[Any]:
        """Take up to limit due jobs for this worker: they are running, under a lease, and nobody else's.

        by_age: prefer those that have waited longest to those of the highest priority. may_follow: asked for each job
        in turn, whether it may be claimed with others. without: kinds that are left where they are.
        """
        if not self._anything_due(queues):
            return []
        due = self.longest_waiting(queues) if by_age else self.due(queues)
        if without:
            due = due.exclude(kind__in=without)
        with transaction.atomic(using=self.db):
            rows = due.select_for_update(skip_locked=True).values_list("pk", "kind", "attempt", "max_attempts")[:limit]
            candidates = [(pk, kind, attempt > 0 or most == 1) for pk, kind, attempt, most in rows]
            chosen = [pk for pk, *_ in startable(candidates, may_follow)]
            self.filter(pk__in=chosen).update(
                status=Status.RUNNING,
                attempt=F("attempt") + 1,
                worker=worker,
                started_at=Now(),
                lease_expires_at=Now() + LEASE,
                progress={"percent": 0, "message": ""},
            )
            claimed = self.in_bulk(chosen)
        return [claimed[pk] for pk in chosen]

    def insert_alike(self, template: Any, rows: Sequence[tuple[UUID, object]]) -> None:
        """Insert a job like the template for each of these ids and params, in one statement where that is possible."""
        if connections[self.db].vendor != "postgresql":
            self.bulk_create([_like(template, pk, params) for pk, params in rows])
            return
        fields = [field for field in self.model._meta.concrete_fields if field.name not in ("id", "params")]
        same = [field.get_db_prep_save(getattr(template, field.attname), connections[self.db]) for field in fields]
        columns = ", ".join(field.column for field in fields)
        with connections[self.db].cursor() as cursor:
            cursor.execute(
                f"INSERT INTO jobs_job (id, params, {columns})"  # noqa: S608 the names are the model's own
                f" SELECT each.id, each.params, {', '.join(['%s'] * len(same))}"
                " FROM unnest(%s::uuid[], %s::jsonb[]) AS each (id, params)",
                [*same, [pk for pk, _ in rows], [orjson.dumps(params).decode() for _, params in rows]],
            )

    def succeed_many(self, worker: str, results: Sequence[tuple[Any, object]]) -> None:
        """Job.succeed() for many running jobs of this worker at once; one whose lease is lost is left as it is."""
        if connections[self.db].vendor == "postgresql":
            ended = self._succeed_in_one_statement(worker, results)
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
        for job in held:
            with suppress(LeaseLost):
                job.give_up()

    def _succeed_in_one_statement(self, worker: str, results: Sequence[tuple[Any, object]]) -> set[UUID]:
        rows = [
            (job.pk, job.attempt, orjson.dumps(result).decode(), orjson.dumps(job.progress | {"percent": 100}).decode())
            for job, result in results
        ]
        with connections[self.db].cursor() as cursor:
            cursor.execute(SUCCEED_MANY, [*map(list, zip(*rows, strict=True)), worker])
            return {pk for (pk,) in cursor.fetchall()}

    def _succeed_in_one_transaction(self, results: Sequence[tuple[Any, object]]) -> set[UUID]:
        ended = set()
        with transaction.atomic(using=self.db):
            for job, result in results:
                with suppress(LeaseLost):
                    job.succeed(result)
                    ended.add(job.pk)
        return ended

    def _anything_due(self, queues: Collection[str] | None) -> bool:
        """Whether a claim is worth a transaction; it also queues what has become due."""
        if self.filter(status__in=UPCOMING, run_at__lte=Now()).exists():
            self.queue_what_is_due()
        return self.due(queues).exists()


SUCCEED_MANY = """
    UPDATE jobs_job
    SET status = 'succeeded', result = nullif(done.result, 'null'), progress = done.progress,
        finished_at = statement_timestamp(), lease_expires_at = NULL
    FROM unnest(%s::uuid[], %s::int[], %s::jsonb[], %s::jsonb[]) AS done (id, attempt, result, progress)
    WHERE jobs_job.id = done.id AND jobs_job.attempt = done.attempt
        AND jobs_job.worker = %s AND jobs_job.status = 'running'
    RETURNING jobs_job.id
"""


def _like(template: Any, pk: UUID, params: object) -> Any:
    job = copy(template)
    job.pk, job.params = pk, params
    return job


Candidate = tuple[UUID, str, bool]
"""A due job: id, kind, delicate."""


def startable(candidates: Sequence[Candidate], may_follow: MayFollow) -> list[Candidate]:
    """Of due jobs, best first: as many of the first as may be claimed together, or else the first alone."""
    together = list(takewhile(lambda candidate: may_follow(*candidate[1:]), candidates))
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
