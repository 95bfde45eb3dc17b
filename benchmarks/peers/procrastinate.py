"""PsycopgConnector with a pool, coroutine tasks, LISTEN/NOTIFY on, finished jobs kept. It stores no results: a job
counts as stored when its row says succeeded, and what is read back is that state."""

import os
from functools import cache
from typing import Any

import psycopg
from procrastinate import App, PsycopgConnector

from benchmarks import work

URL = os.environ["DATABASE_URL"]
CONCURRENCY = 10

app = App(connector=PsycopgConnector(conninfo=URL, min_size=4, max_size=CONCURRENCY))


@app.task(name="bench.noop")
async def noop() -> int:
    return work.noop()


@app.task(name="bench.tell_start")
async def tell_start(path: str) -> int:
    return work.tell_start(path)


@cache
def _connection() -> "psycopg.Connection[Any]":
    """At its first use this also opens the app for enqueueing. The worker, which imports this module, opens its own."""
    app.open()
    return psycopg.connect(URL, autocommit=True)


def prepare() -> None:
    if not _value("SELECT to_regclass('procrastinate_jobs') IS NOT NULL"):
        app.schema_manager.apply_schema()
    _connection().execute("TRUNCATE procrastinate_jobs CASCADE")


def enqueue() -> Any:
    return noop.defer()


def enqueue_many(count: int) -> None:
    noop.batch_defer(*[{}] * count)


def stored() -> int:
    return int(
        _value("SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded' AND task_name = 'bench.noop'")
    )


def result(handle: Any) -> object:
    done = _value("SELECT status = 'succeeded' FROM procrastinate_jobs WHERE id = %s", handle)
    return work.ANSWER if done else None


def probe(path: str) -> None:
    tell_start.defer(path=path)


def _value(query: str, *values: Any) -> Any:
    row = _connection().execute(query, values).fetchone()
    return row and row[0]
