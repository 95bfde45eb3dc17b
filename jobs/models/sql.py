"""What PostgreSQL does in one statement and any other database in several: to claim, insert and end jobs."""

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import orjson
from django.db import connections, models, transaction

from jobs.models import prepared

Rows = models.QuerySet[Any]

CLAIM = """
    UPDATE jobs_job
    SET status = 'running', attempt = attempt + 1, worker = %s, started_at = statement_timestamp(),
        lease_expires_at = statement_timestamp() + %s, progress = '{{"percent": 0, "message": ""}}'
    WHERE id = {which}
    RETURNING {columns}
"""
HISTORY = ("errors", "result")
"""What attempts have left behind, which may be large. A claim does not read it; Django does where it is asked for."""

FIRST_OF_POOLS = """
    SELECT first.id FROM unnest(%s::text[], %s::int[]) AS free (pool, threads) CROSS JOIN LATERAL (
        SELECT id FROM jobs_job
        WHERE pool = free.pool AND status = 'queued' AND {due}
        LIMIT free.threads FOR UPDATE SKIP LOCKED
    ) AS first
"""
BY_PRIORITY = "priority >= -32768 ORDER BY priority DESC, run_at"
BY_PRIORITY_IN_QUEUE = "priority <= 32767 AND queue = %s ORDER BY priority DESC, run_at"
BY_AGE = "attempt >= 0 AND run_at < statement_timestamp() - %s ORDER BY run_at"
BY_AGE_IN_QUEUE = f"queue = %s AND {BY_AGE}"
"""Which jobs of a pool are the first; the conditions choose the index, as in jobs/models/claiming.py."""

INSERT = """
    INSERT INTO jobs_job (attempt, worker, cancel_requested, progress, errors, {columns})
    VALUES (0, '', false, '{{"percent": 0, "message": ""}}', '[]', {places})
"""
UNTOUCHED = {"attempt", "worker", "cancel_requested", "progress", "errors"}
"""What only workers write is the same in all new jobs. In the text of a statement it costs next to nothing."""

INSERT_ALIKE = """
    INSERT INTO jobs_job (id, params, {columns})
    SELECT each.id, each.params, {values} FROM unnest(%s::uuid[], %s::jsonb[]) AS each (id, params)
"""

SUCCEED_MANY = """
    UPDATE jobs_job
    SET status = 'succeeded', result = nullif(done.result, 'null'), progress = done.progress,
        finished_at = statement_timestamp(), lease_expires_at = NULL
    FROM unnest(%s::uuid[], %s::int[], %s::jsonb[], %s::jsonb[]) AS done (id, attempt, result, progress)
    WHERE jobs_job.id = done.id AND jobs_job.attempt = done.attempt
        AND jobs_job.worker = %s AND jobs_job.status = 'running'
    RETURNING jobs_job.id
"""


def read_in_order_of_index(rows: Rows) -> None:
    """In this transaction, read an index in its order, even where statistics know of few rows and would sort them.

    It is for a few rows of many: to sort all that became due at midnight, a batch at a time, took minutes.
    """
    with connections[rows.db].cursor() as cursor:
        cursor.execute("SET LOCAL enable_sort = off")


def claim_first(rows: Rows, first: str, values: Sequence[Any], worker: str, lease: timedelta) -> list[Any]:
    """Claim the row of the first of these ids that nobody else has locked; first, values: a query."""
    return _claim(rows, worker, lease, f"({first} FOR UPDATE SKIP LOCKED)", values)


def claim_all(rows: Rows, ids: Collection[UUID], worker: str, lease: timedelta) -> list[Any]:
    """Claim the rows of these ids, which are locked by us; they come back in any order."""
    return _claim(rows, worker, lease, "ANY (%s::uuid[])", [list(ids)])


def claim_for_pools(
    rows: Rows, worker: str, free: Mapping[str, int], due: str, values: Sequence[Any], lease: timedelta
) -> list[Any]:
    """Claim the first due jobs of each pool, as many as it has free threads. due, values: one of the above."""
    which = f"ANY (ARRAY ({FIRST_OF_POOLS.format(due=due)}))"
    return _claim(rows, worker, lease, which, [list(free), list(free.values()), *values])


def _claim(rows: Rows, worker: str, lease: timedelta, which: str, values: Sequence[Any]) -> list[Any]:
    columns = ", ".join(field.column for field in rows.model._meta.concrete_fields if field.name not in HISTORY)
    return list(rows.raw(CLAIM.format(which=which, columns=columns), [worker, lease, *values]))


def insert(rows: Rows, row: Any) -> None:
    """What row.save() does with a new job, whose statement Django would need a while to put together."""
    alias, fields = rows.db, [field for field in rows.model._meta.concrete_fields if field.name not in UNTOUCHED]
    given = [(field, value) for field in fields if (value := getattr(row, field.attname)) is not None]
    columns, places = ", ".join(field.column for field, _ in given), ", ".join(["%s"] * len(given))
    statement = INSERT.format(columns=columns, places=places)
    with transaction.mark_for_rollback_on_error(using=alias):
        prepared.execute(connections[alias], statement, [_adapted(field, value) for field, value in given])
    row._state.adding, row._state.db = False, alias


def insert_many(rows: Rows, template: Any, many_params: Sequence[tuple[UUID, object]]) -> None:
    """Insert a row like the template for each of these ids and params."""
    connection = connections[rows.db]
    fields = [field for field in rows.model._meta.concrete_fields if field.name not in ("id", "params")]
    same = [field.get_db_prep_save(getattr(template, field.attname), connection) for field in fields]
    sql = INSERT_ALIKE.format(
        columns=", ".join(field.column for field in fields), values=", ".join(["%s"] * len(fields))
    )
    ids, texts = [pk for pk, _ in many_params], [orjson.dumps(params).decode() for _, params in many_params]
    with connection.cursor() as cursor:
        cursor.execute(sql, [*same, ids, texts])


def succeed_many(rows: Rows, worker: str, results: Sequence[tuple[Any, object]]) -> set[UUID]:
    """End these running attempts of the worker with their results; the ids of those whose lease still held."""
    each = [
        (job.pk, job.attempt, orjson.dumps(result).decode(), orjson.dumps(job.progress | {"percent": 100}).decode())
        for job, result in results
    ]
    with connections[rows.db].cursor() as cursor:
        cursor.execute(SUCCEED_MANY, [*map(list, zip(*each, strict=True)), worker])
        return {pk for (pk,) in cursor.fetchall()}


def _adapted(field: "models.Field[Any, Any]", value: Any) -> Any:
    """The driver knows what to make of any value but JSON."""
    return orjson.dumps(value).decode() if isinstance(field, models.JSONField) else value
