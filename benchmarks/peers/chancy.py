"""Coroutine jobs on its AsyncExecutor, 100 at a time (its default), eager polling (its documentation: for jobs that are
continuously available), notifications on, its default plugins. It stores no results: a job counts as stored when its
row says succeeded, which it writes once a second, and what is read back is that state."""

import asyncio
import logging
import os
from functools import cache
from typing import Any

import psycopg
from chancy import Chancy, Queue, QueuedJob, job
from chancy.app import setup_default_logger

from benchmarks import work

URL = os.environ["DATABASE_URL"]

app = Chancy(URL, log=setup_default_logger(logging.WARNING))


@job()
async def noop() -> int:
    return work.noop()


@job()
async def tell_start(path: str) -> int:
    return work.tell_start(path)


@cache
def _connection() -> "psycopg.Connection[Any]":
    return psycopg.connect(URL, autocommit=True)


def prepare() -> None:
    if _value("SELECT to_regclass('chancy_jobs') IS NULL"):
        asyncio.run(_install())
    _connection().execute("TRUNCATE chancy_jobs")


async def _install() -> None:
    async with Chancy(URL, log=app.log) as installer:
        await installer.migrate()
        await installer.declare(Queue("default", executor=Chancy.Executor.Async, eager_polling=True))


def enqueue() -> Any:
    return app.sync_push(noop.job)


def enqueue_many(count: int) -> None:
    for _ in app.sync_push_many([noop.job] * count):
        pass


def stored() -> int:
    return int(_value("SELECT count(*) FROM chancy_jobs WHERE state = 'succeeded' AND func LIKE '%noop'"))


def result(handle: Any) -> object:
    done = app.sync_get_job(handle)
    return work.ANSWER if done and done.state is QueuedJob.State.SUCCEEDED else None


def probe(path: str) -> None:
    app.sync_push(tell_start.job.with_kwargs(path=path))


def _value(query: str) -> Any:
    row = _connection().execute(query).fetchone()
    return row and row[0]
