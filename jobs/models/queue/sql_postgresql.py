"""The queue's statements for PostgreSQL, each a single statement, because this is what workers do all day."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import cache
from typing import Any
from uuid import UUID

import orjson
from django.db import connections, models, transaction
from django.db.models.expressions import RawSQL

from jobs.models.queue.batch import COLUMNS, MAY_BE_IN_A_BATCH, Candidate
from jobs.models.queue.claim import LEASE, Claim
from jobs.models.queue.lock_waits import LIMIT
from jobs.models.queue.sql_above_marks import above_marks, matching_sql
from jobs.models.queue.sql_portable import Portable
from jobs.models.statements import CompiledQuery, execute_prepared, instances, prepare

HISTORY = ("errors", "result")
"""Columns of earlier attempts, which may be large: a claim does not return them; Django loads them when used."""
NO_PROGRESS = {"percent": 0, "message": ""}
"""What CLAIM sets."""

NEW_VERSION = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
"""The database's clock, read after the statement has locked the table: rest/watch/sources.py relies on that."""
NEXT_VERSION = f"greatest(jobs_job.version + 1, {NEW_VERSION})"
"""What the trigger would set (rest/migrations/_triggers.py), without the time that the trigger takes."""

CLAIM = """
    UPDATE jobs_job
    SET status = 'running', attempt = attempt + 1, worker = %s, started_at = statement_timestamp(),
        lease_expires_at = statement_timestamp() + %s, progress = '{{"percent": 0, "message": ""}}', version = {version}
    WHERE {which}
    RETURNING {columns}
"""

ALL = "SELECT place FROM ({due}) AS due"
FIRST_BATCH = f"""
    SELECT place FROM (
        SELECT place, row_number() OVER () = 1 OR bool_and({MAY_BE_IN_A_BATCH}) OVER (ROWS UNBOUNDED PRECEDING) AS leads
        FROM ({{due}}) AS due
    ) AS batch WHERE leads
"""  # noqa: S608 a constant
"""The places in the table of due jobs that are locked and may be claimed together, as first_batch() chooses them."""

FIRST_OF_POOLS = """
    SELECT first.place FROM unnest(%s::text[], %s::int[]) AS free (pool, threads) CROSS JOIN LATERAL (
        SELECT ctid AS place FROM jobs_job WHERE pool = free.pool AND {matching}
        ORDER BY {order} LIMIT free.threads FOR UPDATE SKIP LOCKED
    ) AS first
"""

INSERT = f"""
    INSERT INTO jobs_job (version, attempt, worker, cancel_requested, progress, errors, {{columns}})
    SELECT {NEW_VERSION}, 0, '', false, '{{{{"percent": 0, "message": ""}}}}', '[]', each.*
    FROM unnest({{places}}) AS each ({{columns}})
"""  # noqa: S608 a constant
NOT_GIVEN = {
    "version",
    *("attempt", "worker", "cancel_requested", "progress", "errors"),
    *("started_at", "lease_expires_at", "finished_at", "result", "output"),
}
"""Fields that have the same value in every new job: constants in the statement, or, on the last line, NULL."""

HOLDS_LEASE = "jobs_job.lease_expires_at IS NOT NULL"
"""That is: it is running. LeaseQuerySet.held_by() says why the status is not asked for."""

SUCCEED_MANY = f"""
    {LIMIT.format(scope="LOCAL")};
    UPDATE jobs_job
    SET status = 'succeeded', result = done.result, progress = done.progress,
        finished_at = statement_timestamp(), lease_expires_at = NULL, version = {NEXT_VERSION}
    FROM (SELECT * FROM jsonb_to_recordset(%s::jsonb) AS done (id uuid, attempt int, result jsonb, progress jsonb)
          LIMIT %s) AS done
    WHERE jobs_job.id = done.id AND jobs_job.attempt = done.attempt
        AND jobs_job.worker = %s AND {HOLDS_LEASE}
    RETURNING jobs_job.id
"""  # noqa: S608 a constant
"""LIMIT tells the planner how many there are. It expects a hundred, for which it reads a small table as a whole.

lock_timeout is set each time, because handlers use the same connection. Both statements are one message and one
transaction, which takes the server 7 µs more; set by a CTE it takes 36.
"""

UPDATE_HELD = f"""
    WITH held (id, attempt, progress) AS (
        SELECT * FROM unnest(%s::uuid[], %s::int[], %s::jsonb[])
    ), own AS MATERIALIZED (
        SELECT jobs_job.id FROM jobs_job JOIN held USING (id)
        WHERE jobs_job.attempt = held.attempt AND jobs_job.worker = %s AND {HOLDS_LEASE}
        FOR NO KEY UPDATE OF jobs_job SKIP LOCKED
    )
    UPDATE jobs_job SET progress = held.progress {{renewal}}
    FROM held WHERE jobs_job.id = held.id AND jobs_job.id IN (SELECT id FROM own)
    RETURNING jobs_job.id, cancel_requested
"""  # noqa: S608 a constant
SHOW_PROGRESS = UPDATE_HELD.format(renewal="")
RENEW_LEASES = UPDATE_HELD.format(renewal=", lease_expires_at = statement_timestamp() + %s")

FIRST_DUE = CompiledQuery(lambda model, claim: model.objects.matching(claim).values("pk")[:1])
DUE = CompiledQuery(lambda model, claim: model.objects.matching(claim).values_list(*COLUMNS))
PLACES_OF_DUE = CompiledQuery(
    lambda model, claim: model.objects.matching(claim).annotate(place=RawSQL("ctid", ())).values("place", *COLUMNS[1:])
)


class PostgreSQL(Portable):
    def claim_first(self, rows: Any, claim: Claim) -> list[Any]:
        if claim.marks:
            above, given = above_marks(rows.model, claim, 1, "id", lock=True)
            return _claim(rows, claim, f"id = ({above})", given)
        first, values = _compiled(FIRST_DUE, rows, claim)
        return _claim(rows, claim, f"id = ({first} FOR UPDATE SKIP LOCKED)", values)

    def claim_batch(self, rows: Any, claim: Claim) -> list[Any]:
        """The rows are updated at the places where they are locked, without a search for each by its id.

        A row that changes its place between the snapshot and the lock is left for the next claim.
        """
        values: Sequence[Any]
        if claim.marks:
            columns = f"ctid AS place, {', '.join(COLUMNS[1:])}"
            due, values = above_marks(rows.model, claim, claim.limit, columns, lock=True)
        else:
            due, values = _compiled(PLACES_OF_DUE, rows, claim)
            due = f"{due} LIMIT {claim.limit:d} FOR UPDATE SKIP LOCKED"
        first = ALL if claim.short is None else FIRST_BATCH
        given = values if claim.short is None else [list(claim.short), *values]
        claimed = _claim(rows, claim, f"ctid = ANY (ARRAY ({first.format(due=due)}))", given)
        claimed.sort(key=(lambda job: job.run_at) if claim.by_age else (lambda job: (-job.priority, job.run_at)))
        return claimed

    def claim_for_threads(self, rows: Any, claim: Claim) -> list[Any]:
        threads = claim.threads or {}
        matching, values = matching_sql(rows.model, claim, of_pool=False)
        order = "run_at" if claim.by_age else "priority DESC, run_at"
        which = f"ctid = ANY (ARRAY ({FIRST_OF_POOLS.format(matching=matching, order=order)}))"
        return _claim(rows, claim, which, [list(threads), list(threads.values()), *values])

    def look(self, rows: Any, claim: Claim, limit: int) -> Sequence[Candidate]:
        if claim.marks:
            above, given = above_marks(rows.model, claim, limit, ", ".join(COLUMNS), lock=False)
            return execute_prepared(connections[rows.db], above, given)
        due, values = _compiled(DUE, rows, claim)
        with connections[rows.db].cursor() as cursor:
            cursor.execute(f"{due} LIMIT {limit:d}", values)
            return list(cursor.fetchall())

    def pages_of_look(self, rows: Any, claim: Claim) -> int:
        first, values = _compiled(FIRST_DUE, rows, claim)
        with connections[rows.db].cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {first}", values)
            plan = cursor.fetchone()[0][0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    def read_in_index_order(self, rows: Any) -> None:
        """With statistics of a time when few rows waited, the planner sorts all of them for each batch: to queue the
        jobs that became due at midnight took minutes."""
        with connections[rows.db].cursor() as cursor:
            cursor.execute("SET LOCAL enable_sort = off")

    def insert(self, rows: Any, jobs: Sequence[Any]) -> None:
        """One prepared statement for any number of jobs: each column is an array. Django would need longer to build its
        statement than the database to execute it."""
        fields, statement = insert_statement(rows.model, rows.db)
        values = [array_literal([_adapt(field, getattr(job, field.attname)) for job in jobs]) for field in fields]
        with transaction.mark_for_rollback_on_error(using=rows.db):
            execute_prepared(connections[rows.db], statement, values)
        for job in jobs:
            job._state.adding, job._state.db = False, rows.db

    def succeed_many(self, rows: Any, worker: str, results: Sequence[tuple[Any, object]]) -> set[UUID]:
        done = [
            {"id": job.pk, "attempt": job.attempt, "result": result, "progress": job.progress | {"percent": 100}}
            for job, result in results
        ]
        with connections[rows.db].cursor() as cursor:
            cursor.execute(SUCCEED_MANY, [orjson.dumps(done).decode(), len(done), worker])
            all_held = cursor.rowcount == len(results)
            succeeded = {job.pk for job, _ in results} if all_held else {pk for (pk,) in cursor.fetchall()}
        rows.model.log_ends((job for job, _ in results if job.pk in succeeded), "succeeded")
        return succeeded

    def update_held(self, rows: Any, worker: str, jobs: Sequence[Any], lease: timedelta | None) -> dict[UUID, bool]:
        progress = [orjson.dumps(job.progress).decode() for job in jobs]
        values: list[Any] = [[job.pk for job in jobs], [job.attempt for job in jobs], progress, worker]
        with connections[rows.db].cursor() as cursor:
            if lease is not None:
                values.append(lease)
            cursor.execute(SHOW_PROGRESS if lease is None else RENEW_LEASES, values)
            return dict(cursor.fetchall())


def _compiled(query: CompiledQuery, rows: Any, claim: Claim) -> tuple[str, Sequence[Any]]:
    if claim.without_users or claim.owner is not None:  # too many different users to keep a statement for each
        return query.build(rows.model, claim, using=rows.db)
    return query.sql(rows.model, claim, using=rows.db)


def _claim(rows: Any, claim: Claim, which: str, values: Sequence[Any]) -> list[Any]:
    """A statement above marks is prepared: it takes longer to plan than to execute. Marks exist only while the table is
    large, so the plan that is kept is not one for an empty table."""
    connection = connections[rows.db]
    fields = [field for field in rows.model._meta.concrete_fields if field.name not in (*HISTORY, "progress")]
    statement = CLAIM.format(which=which, columns=_columns(fields), version=NEXT_VERSION)
    params: list[Any] = [claim.worker, LEASE, *values]
    with connection.cursor() as cursor:
        if claim.marks:
            statement = prepare(connection, cursor, statement, len(params))
        cursor.execute(statement, params)
        claimed = instances(rows.model, cursor, connection)
    for job in claimed:
        job.progress = NO_PROGRESS.copy()  # as the statement has set it: to read it costs more
    return claimed


@cache
def insert_statement(model: Any, alias: str) -> tuple[Sequence[Any], str]:
    """The fields of which each has an array of values, and the statement."""
    fields = [field for field in model._meta.concrete_fields if field.name not in NOT_GIVEN]
    places = ", ".join(f"%s::{field.db_type(connections[alias])}[]" for field in fields)
    return fields, INSERT.format(columns=_columns(fields), places=places)


def _columns(fields: Iterable[Any]) -> str:
    return ", ".join(field.column for field in fields)


def _adapt(field: "models.Field[Any, Any]", value: Any) -> Any:
    """The driver adapts every value but JSON. None is NULL."""
    return orjson.dumps(value).decode() if isinstance(field, models.JSONField) and value is not None else value


def array_literal(values: Iterable[object]) -> str:
    """The values as the text of an array of any type (PostgreSQL, "Array Input and Output Syntax")."""
    return "{" + ",".join(map(_element, values)) + "}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'
