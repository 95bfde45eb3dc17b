"""Coroutine jobs, 10 at a time in each worker process (its documentation's example), started by its command line, which
uses uvloop. Jobs return a `Record`, which stores their result in the row. It needs Python 3.12."""

import asyncio
import os
from functools import cache
from typing import Any

import psycopg
from oban import Oban, Record, job
from oban._recorded import decode_recorded
from oban.schema import install

from benchmarks import work

URL = os.environ["DATABASE_URL"]

_runner = asyncio.Runner()


@job()
async def noop() -> Record:
    return Record(work.noop())


@job()
async def tell_start(path: str) -> Record:
    return Record(work.tell_start(path))


@cache
def _oban() -> Oban:
    """Without queues: it enqueues only."""
    return Oban(pool=_runner.run(Oban.create_pool(URL)))


@cache
def _connection() -> "psycopg.Connection[Any]":
    return psycopg.connect(URL, autocommit=True)


def prepare() -> None:
    if _value("SELECT to_regclass('oban_jobs') IS NULL"):
        _runner.run(_install())
    _connection().execute("TRUNCATE oban_jobs")


async def _install() -> None:
    async with await Oban.create_pool(URL) as pool:
        await install(pool)


def enqueue() -> Any:
    return _runner.run(_oban().enqueue(noop.new())).id


def enqueue_many(count: int) -> None:
    _runner.run(_oban().enqueue_many(noop.new() for _ in range(count)))


def stored() -> int:
    return int(_value("SELECT count(*) FROM oban_jobs WHERE state = 'completed' AND worker LIKE '%noop'"))


def result(handle: Any) -> object:
    done = _runner.run(_oban().get_job(handle))
    return decode_recorded(done.meta["return"]) if done else None


def probe(path: str) -> None:
    _runner.run(_oban().enqueue(tell_start.new(path)))


def _value(query: str) -> Any:
    row = _connection().execute(query).fetchone()
    return row and row[0]
