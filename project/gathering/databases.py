"""Runs the gathered statements: reads on a replica or the primary for many users, who each see their own writes."""

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import Any

import structlog
from django.conf import settings
from django.core.cache import cache as shared_cache
from django.db import DatabaseError, InterfaceError, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from jobs.models.queue.sql_postgresql import array_literal
from jobs.models.statements import execute_prepared
from project.replicas import probe
from project.replicas.read_your_writes import position_key
from rest import outage
from rest.pooler import is_pooled
from routers import PRIMARY, pool

log = structlog.get_logger(__name__)

Row = tuple[Any, ...]
"""Of a gathered statement: the number of the question (from 1), the user's id, and what else the statement selects."""

REPLAYED = """
    SELECT CASE
        WHEN NOT pg_is_in_recovery() THEN 9223372036854775807
        WHEN EXISTS (SELECT FROM pg_stat_wal_receiver) THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint
        ELSE 0
    END
"""
"""How far a replica is. A standby without a WAL receiver may be on an old timeline, and counts as knowing nothing."""

ONE_PLAN = """
    SET join_collapse_limit = 1; SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off
"""
"""Join as written, row by row, by indexes: a plan that is made while the tables are small must stay good."""


def is_possible() -> bool:
    """Prepared statements need PostgreSQL, and a session that no pooler exchanges."""
    return _is_postgresql() and not is_pooled(connections.settings[PRIMARY])


@cache
def _is_postgresql() -> bool:
    return connections[PRIMARY].vendor == "postgresql"


def read(statement: str, questions: Sequence[Sequence[str]]) -> dict[int, Row]:
    """read_many() for a statement that finds one row for a question, or none."""
    return {number: rows[0] for number, rows in read_many(statement, questions).items()}


def read_many(statement: str, questions: Sequence[Sequence[str]]) -> dict[int, list[Row]]:
    """The rows that answer these questions, by the question's index; those without a row are missing.

    statement: a read with one array of text for each part of a question. The rows for a question contain the latest
    writes of the user that the statement finds for it.
    """
    probe.background_probe.ensure_started()
    found: dict[int, list[Row]] = {}
    if settings.REPLICAS:
        if pool.primary_is_out:
            return found  # the plain view knows what is still possible
        found = _by_question(_read_on_replica(pool.choose(0), statement, questions))
    missing = [index for index in range(len(questions)) if index not in found]
    if missing:
        rows = _by_question(_execute(PRIMARY, statement, [questions[index] for index in missing]))
        found |= {missing[index]: rows for index, rows in rows.items()}
    return found


def _by_question(rows: Sequence[Row]) -> dict[int, list[Row]]:
    found = defaultdict(list)
    for row in rows:
        found[row[0] - 1].append(row)
    return found


def _read_on_replica(alias: str, statement: str, questions: Sequence[Sequence[str]]) -> list[Row]:
    """Without the rows of users who have written what this replica does not have yet."""
    if alias == PRIMARY:
        return []
    try:
        [[replayed]] = _execute(alias, REPLAYED)
        # A later statement sees at least as much.
        rows = _execute(alias, statement, questions)
    except (DatabaseError, InterfaceError):
        pool.eject(alias)
        return []
    try:
        written = shared_cache.get_many({position_key(user_id) for _, user_id, *_ in rows})
    except Exception as error:
        if not outage.cache.note(error):
            log.warning("cache_call_failed", exc_info=True)
        return []
    return [row for row in rows if written.get(position_key(row[1]), 0) <= replayed]


def read_before_writing(statement: str, questions: Sequence[Sequence[str]]) -> dict[int, Row]:
    """read() on the primary, for a thread that goes on to write."""
    probe.background_probe.ensure_started()
    if settings.REPLICAS and pool.primary_is_out:
        return {}
    return {row[0] - 1: row for row in _execute(PRIMARY, statement, questions, readonly=False)}


def _execute(
    alias: str, statement: str, questions: Sequence[Sequence[str]] = (), *, readonly: bool = True
) -> list[Row]:
    """A read on this thread's connection; if that is broken, once more on a new one.

    Not on the primary while it is known to be out: a new connection would only wait for it.
    """
    values = [array_literal(part) for part in zip(*questions, strict=True)]
    if connections[alias].connection is not None:
        try:
            return execute_prepared(connections[alias], statement, values)
        except (DatabaseError, InterfaceError):
            connections[alias].close()
            if alias == PRIMARY and pool.primary_is_out:
                raise
    return execute_prepared(_connected(alias, readonly), statement, values)


def _connected(alias: str, readonly: bool) -> BaseDatabaseWrapper:
    """Connect anew. readonly: for every transaction of the session, so that safe methods cannot write."""
    connection = connections[alias]
    connection.connect()
    if is_pooled(connection.settings_dict):
        return connection
    connection.connection.set_session(readonly=readonly)
    with connection.cursor() as cursor:
        cursor.execute(ONE_PLAN)
    return connection
