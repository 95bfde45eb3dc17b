"""Chooses how the queue's statements are executed: as single statements on PostgreSQL, elsewhere through the ORM.

Both implementations pass tests/jobs/models/queue/test_sql.py.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

from django.db import connections

from jobs.models.queue.batch import Candidate
from jobs.models.queue.sql_portable import Portable
from jobs.models.queue.sql_postgresql import PostgreSQL

Rows = Any
"""A JobQuerySet of all jobs; its `db` is the database that is used."""


class QueueSQL(Protocol):
    """The statements of the queue that PostgreSQL does better than the ORM."""

    def claim_first(self, rows: Rows, claim: Any, worker: str, lease: timedelta) -> list[Any]:
        """Claim the best due job that matches this Claim and that nobody else has locked."""

    def claim_batch(
        self, rows: Rows, claim: Any, worker: str, lease: timedelta, limit: int, short: Collection[str] | None
    ) -> list[Any]:
        """Claim the first unlocked jobs that match this Claim, as many as may be claimed together (first_batch())."""

    def look(self, rows: Rows, claim: Any, limit: int) -> Sequence[Candidate]:
        """Due jobs that match this Claim and lie above its marks, in its order: id, kind, attempt, max_attempts."""

    def pages_of_look(self, rows: Rows, claim: Any) -> int:
        """How many pages a look for the first job that this Claim may take reads."""

    def claim_best(self, rows: Rows, due: Rows, worker: str, lease: timedelta) -> list[Any]:
        """Claim the first of these due jobs that nobody else has locked."""

    def claim_for_pools(
        self,
        rows: Rows,
        worker: str,
        free: Mapping[str, int],
        lease: timedelta,
        queue: str | None,
        overdue: timedelta | None,
        without_users: tuple[int, ...],
    ) -> list[Any]:
        """Claim the best due jobs of each pool, at most as many as it has free threads.

        overdue: claim by age, and only jobs that have been due for longer than this; None: by priority.
        without_users: passes over their jobs.
        """

    def read_in_index_order(self, rows: Rows) -> None:
        """For the rest of the transaction: read few rows in the order of an index rather than sort many."""

    def insert(self, rows: Rows, job: Any) -> None:
        """job.save() for a new job whose JSON fields hold plain JSON."""

    def insert_each(self, rows: Rows, jobs: Sequence[Any]) -> None:
        """insert() for many jobs, in one statement."""

    def insert_many(self, rows: Rows, template: Any, many_params: Sequence[tuple[UUID, object]]) -> None:
        """Insert a copy of the template for each of these ids and params."""

    def succeed_many(self, rows: Rows, worker: str, results: Sequence[tuple[Any, object]]) -> set[UUID]:
        """Finish these attempts with their results; returns the ids of those whose lease was still held.

        PostgreSQL: raises OperationalError, and writes nothing, if another transaction keeps a row locked for a second.
        """

    def update_held(self, rows: Rows, worker: str, jobs: Sequence[Any], lease: timedelta | None) -> dict[UUID, bool]:
        """Write the progress of running attempts, and renew their leases if a lease is given.

        Returns cancel_requested by id; without jobs whose lease is lost, and (PostgreSQL) whose row is locked.
        """


def sql_for(alias: str) -> QueueSQL:
    return _POSTGRESQL if connections[alias].vendor == "postgresql" else _PORTABLE


_POSTGRESQL, _PORTABLE = PostgreSQL(), Portable()
