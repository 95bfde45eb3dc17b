"""SQL that finds due jobs above low-water marks (low_water.py), for the claims of sql_postgresql.py."""

from typing import Any

from jobs.models.queue.claim import Claim
from jobs.models.queue.due import due_sql

ABOVE_MARKS = """
    SELECT found.* FROM unnest(%s::int[], %s::int[], %s::timestamptz[]) AS part (above, priority, since)
    CROSS JOIN LATERAL (
        SELECT * FROM (
            SELECT {columns} FROM jobs_job WHERE {due} AND priority < part.above AND priority > part.priority
            ORDER BY priority DESC, run_at LIMIT {limit} {lock}
        ) AS between_marks
        UNION ALL
        SELECT * FROM (
            SELECT {columns} FROM jobs_job WHERE {due} AND priority = part.priority AND run_at >= part.since
            ORDER BY run_at LIMIT {limit} {lock}
        ) AS above_mark
    ) AS found LIMIT {limit}
"""
"""A part is all jobs between two priorities that have marks, then those of the lower one from its mark on. Rows are
read, and locked, until there are enough."""
OLDEST_ABOVE_MARK = """
    SELECT {columns} FROM jobs_job WHERE {due} AND run_at >= %s ORDER BY run_at LIMIT {limit} {lock}
"""
LOWEST, HIGHEST = -(2**15) - 1, 2**15
"""Below and above all priorities."""


def above_marks(model: Any, claim: Claim, limit: int, columns: str, *, lock: bool) -> tuple[str, list[Any]]:
    """The statement and its parameters."""
    parts = {"columns": columns, "limit": limit, "lock": "FOR UPDATE SKIP LOCKED" if lock else ""}
    due, values = matching_sql(model, claim)
    priorities, moments = [priority for priority, _ in claim.marks], [moment for _, moment in claim.marks]
    if claim.by_age:
        return OLDEST_ABOVE_MARK.format(due=due, **parts), [*values, *moments]
    between = [[HIGHEST, *priorities], [*priorities, LOWEST], [*moments, moments[-1]]]
    return ABOVE_MARKS.format(due=due, **parts), [*between, *values, *values]


def matching_sql(model: Any, claim: Claim, *, of_pool: bool = True) -> tuple[str, list[Any]]:
    """ClaimQuerySet.matching() as a condition and its parameters, without what depends on the marks.

    of_pool: False if the statement has a condition of its own on the pool.
    """
    conditions: list[str] = [due_sql(model, by_age=claim.by_age, in_one_queue=claim.in_one_queue)]
    values: list[Any] = []
    if of_pool:
        conditions.append("pool = %s")
        values.append(claim.pool)
    if claim.overdue is not None:
        conditions.append("run_at < statement_timestamp() - %s::interval")
        values.append(claim.overdue)
    if claim.queues is not None:
        conditions.append("queue = %s" if claim.in_one_queue else "queue = ANY (%s)")
        values.append(claim.queues[0] if claim.in_one_queue else list(claim.queues))
    if claim.kinds is not None:
        conditions.append("kind = ANY (%s)")
        values.append(list(claim.kinds))
    if claim.without_users:
        conditions.append("(user_id IS NULL OR user_id <> ALL (%s::int[]))")
        values.append(list(claim.without_users))
    return " AND ".join(conditions), values
