"""The queue's statements (sql.py) through the ORM, for any database: several statements in one transaction each."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from copy import copy
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from jobs.errors import LeaseLost
from jobs.models.queue.batch import COLUMNS, Candidate, first_batch
from jobs.models.states import Status


class Portable:
    def claim_first(self, rows: Any, claim: Any, worker: str, lease: timedelta) -> list[Any]:
        return self.claim_best(rows, rows.matching(claim), worker, lease)

    def claim_batch(
        self, rows: Any, claim: Any, worker: str, lease: timedelta, limit: int, short: Collection[str] | None
    ) -> list[Any]:
        return _lock_and_claim(rows, rows.matching(claim), worker, lease, limit, short)

    def look(self, rows: Any, claim: Any, limit: int) -> Sequence[Candidate]:
        """From the beginning: other databases have no use for marks."""
        return list(rows.matching(claim).values_list(*COLUMNS)[:limit])

    def pages_of_look(self, rows: Any, claim: Any) -> int:
        """Other databases have no dead entries."""
        return 0

    def claim_best(self, rows: Any, due: Any, worker: str, lease: timedelta) -> list[Any]:
        # Without a transaction: on SQLite, an idle worker must not take the only write lock.
        return _lock_and_claim(rows, due, worker, lease, 1) if due.exists() else []

    def claim_for_pools(
        self,
        rows: Any,
        worker: str,
        free: Mapping[str, int],
        lease: timedelta,
        queue: str | None,
        overdue: timedelta | None,
        without_users: tuple[int, ...],
    ) -> list[Any]:
        by_age = overdue is not None
        due = {pool: rows.due_in_pool(pool, queue, by_age=by_age, without_users=without_users) for pool in free}
        waiting = [pool for pool, found in due.items() if found.exists()]  # an idle worker locks nothing
        if not waiting:
            return []
        # One transaction: an error with one pool must not leave behind what was claimed for another.
        with transaction.atomic(using=rows.db):
            return [job for pool in waiting for job in _lock_and_claim(rows, due[pool], worker, lease, free[pool])]

    def read_in_index_order(self, rows: Any) -> None:
        pass

    def insert(self, rows: Any, job: Any) -> None:
        job.save(force_insert=True, using=rows.db)

    def insert_each(self, rows: Any, jobs: Sequence[Any]) -> None:
        rows.bulk_create(jobs)

    def insert_many(self, rows: Any, template: Any, many_params: Sequence[tuple[UUID, object]]) -> None:
        jobs = []
        for pk, params in many_params:
            jobs.append(job := copy(template))
            job.pk, job.params = pk, params
        rows.bulk_create(jobs)

    def succeed_many(self, rows: Any, worker: str, results: Sequence[tuple[Any, object]]) -> set[UUID]:
        succeeded = set()
        with transaction.atomic(using=rows.db):
            for job, result in results:
                with suppress(LeaseLost):
                    job.succeed(result)
                    succeeded.add(job.pk)
        return succeeded

    def update_held(self, rows: Any, worker: str, jobs: Sequence[Any], lease: timedelta | None) -> dict[UUID, bool]:
        renewed = {} if lease is None else {"lease_expires_at": Now() + lease}
        found = {}
        with transaction.atomic(using=rows.db):
            for job in jobs:
                held = rows.held_by(worker, job)
                if held.update(progress=job.progress, **renewed):
                    found[job.pk] = held.values_list("cancel_requested", flat=True).get()
        return found


def _lock_and_claim(
    rows: Any, due: Any, worker: str, lease: timedelta, limit: int, short: Collection[str] | None = None
) -> list[Any]:
    """Claim the first unlocked jobs of these due ones, in their order; as many as may be claimed together."""
    with transaction.atomic(using=rows.db):
        locked = list(due.select_for_update(skip_locked=True).values_list(*COLUMNS)[:limit])
        chosen = [pk for pk, *_ in first_batch(locked, short)]
        rows.filter(pk__in=chosen).update(
            status=Status.RUNNING,
            attempt=F("attempt") + 1,
            worker=worker,
            started_at=Now(),
            lease_expires_at=Now() + lease,
            progress={"percent": 0, "message": ""},
        )
        claimed = rows.without_history().in_bulk(chosen)
        return [claimed[pk] for pk in chosen]
