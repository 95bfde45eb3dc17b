"""The queue's statements through the ORM, for any database: several statements in one transaction each.

sql_postgresql.py replaces them by single statements. Both pass tests/jobs/models/queue/test_sql.py.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from jobs.errors import LeaseLost
from jobs.models.queue.batch import COLUMNS, Candidate, first_batch
from jobs.models.queue.claim import LEASE, Claim
from jobs.models.states import Status


class Portable:
    """rows: a JobQuerySet of all jobs; its `db` is the database that is used."""

    def claim_first(self, rows: Any, claim: Claim) -> list[Any]:
        """Claim the best due job that matches this claim and that nobody else has locked."""
        # Without a transaction: on SQLite, an idle worker must not take the only write lock.
        return _lock_and_claim(rows, claim, 1) if rows.matching(claim).exists() else []

    def claim_batch(self, rows: Any, claim: Claim) -> list[Any]:
        """Claim the first unlocked jobs that match this claim, as many as may be claimed together (first_batch())."""
        return _lock_and_claim(rows, claim, claim.limit)

    def claim_for_threads(self, rows: Any, claim: Claim) -> list[Any]:
        """Claim the best due jobs of each pool, at most as many as it has idle threads."""
        of_pools = [replace(claim, pool=pool, short=None, limit=idle) for pool, idle in (claim.threads or {}).items()]
        waiting = [each for each in of_pools if rows.matching(each).exists()]  # an idle worker locks nothing
        if not waiting:
            return []
        # One transaction: an error with one pool must not leave behind what was claimed for another.
        with transaction.atomic(using=rows.db):
            return [job for each in waiting for job in _lock_and_claim(rows, each, each.limit)]

    def look(self, rows: Any, claim: Claim, limit: int) -> Sequence[Candidate]:
        """Due jobs that match this claim, in its order. Above its marks, for which only PostgreSQL has a use."""
        return list(rows.matching(claim).values_list(*COLUMNS)[:limit])

    def pages_of_look(self, rows: Any, claim: Claim) -> int:
        """How many pages a look for the first job that this claim may take reads. Only PostgreSQL has dead entries."""
        return 0

    def read_in_index_order(self, rows: Any) -> None:
        """For the rest of the transaction: read few rows in the order of an index rather than sort many."""

    def insert(self, rows: Any, jobs: Sequence[Any]) -> None:
        """Insert new jobs whose JSON fields hold plain JSON: all or none."""
        rows.bulk_create(jobs)

    def succeed_many(self, rows: Any, worker: str, results: Sequence[tuple[Any, object]]) -> set[UUID]:
        """Finish these attempts with their results; returns the ids of those whose lease was still held.

        PostgreSQL: raises OperationalError, and writes nothing, if another transaction keeps a row locked for a second.
        """
        succeeded = set()
        with transaction.atomic(using=rows.db):
            for job, result in results:
                with suppress(LeaseLost):
                    job.succeed(result)
                    succeeded.add(job.pk)
        return succeeded

    def update_held(self, rows: Any, worker: str, jobs: Sequence[Any], lease: timedelta | None) -> dict[UUID, bool]:
        """Write the progress of running attempts, and renew their leases if a lease is given.

        Returns cancel_requested by id; without jobs whose lease is lost, and (PostgreSQL) whose row is locked.
        """
        renewed = {} if lease is None else {"lease_expires_at": Now() + lease}
        found = {}
        with transaction.atomic(using=rows.db):
            for job in jobs:
                held = rows.held_by(worker, job)
                if held.update(progress=job.progress, **renewed):
                    found[job.pk] = held.values_list("cancel_requested", flat=True).get()
        return found


def _lock_and_claim(rows: Any, claim: Claim, limit: int) -> list[Any]:
    """Claim the first unlocked jobs that match, in their order; as many as may be claimed together."""
    with transaction.atomic(using=rows.db):
        locked = list(rows.matching(claim).select_for_update(skip_locked=True).values_list(*COLUMNS)[:limit])
        chosen = [pk for pk, *_ in first_batch(locked, claim.short)]
        rows.filter(pk__in=chosen).update(
            status=Status.RUNNING,
            attempt=F("attempt") + 1,
            worker=claim.worker,
            started_at=Now(),
            lease_expires_at=Now() + LEASE,
            progress={"percent": 0, "message": ""},
        )
        claimed = rows.without_history().in_bulk(chosen)
        return [claimed[pk] for pk in chosen]
