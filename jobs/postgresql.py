"""What PostgreSQL does in one statement and any other database in several: to claim, insert and end jobs."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from django.db import connections, models, transaction
from django.db.models.options import Options

from jobs import prepared

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


def claim_first(rows: Rows, first: str, params: Sequence[Any], worker: str, lease: timedelta) -> list[Any]:
    """Claim the row of the first of these ids that nobody else has locked; first, params: a query."""
    which = f"({first} FOR UPDATE SKIP LOCKED)"
    return list(rows.raw(CLAIM.format(which=which, columns=_claimed(rows.model._meta)), [worker, lease, *params]))


def claim_all(rows: Rows, ids: Collection[UUID], worker: str, lease: timedelta) -> list[Any]:
    """Claim the rows of these ids, which are locked by us; they come back in any order."""
    statement = CLAIM.format(which="ANY (%s::uuid[])", columns=_claimed(rows.model._meta))
    return list(rows.raw(statement, [worker, lease, list(ids)]))


def insert(rows: Rows, row: Any) -> None:
    """What row.save() does with a new job, whose statement Django would need a while to put together."""
    alias, fields = rows.db, [field for field in rows.model._meta.concrete_fields if field.name not in UNTOUCHED]
    given = [(field, value) for field in fields if (value := getattr(row, field.attname)) is not None]
    columns, places = ", ".join(field.column for field, _ in given), ", ".join(["%s"] * len(given))
    statement = INSERT.format(columns=columns, places=places)
    with transaction.mark_for_rollback_on_error(using=alias):
        prepared.execute(connections[alias], statement, [_adapted(field, value) for field, value in given])
    row._state.adding, row._state.db = False, alias


def insert_alike(rows: Rows, template: Any, many_params: Sequence[tuple[UUID, object]]) -> None:
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


@cache
def _claimed(table: "Options[Any]") -> str:
    return ", ".join(str(field.column) for field in table.concrete_fields if field.name not in HISTORY)


def _adapted(field: "models.Field[Any, Any]", value: Any) -> Any:
    """The driver knows what to make of any value but JSON."""
    return orjson.dumps(value).decode() if isinstance(field, models.JSONField) else value
