"""Prefork pool, results in Redis, JSON, prefetch multiplier 100 (its documentation: a large number for many short
tasks), acknowledged early (its default), no events, hiredis."""

import os
from typing import Any

from celery import Celery
from celery.result import AsyncResult
from redis import Redis

from benchmarks import work

app = Celery("bench", broker=f"{os.environ['REDIS_URL']}/0", backend=f"{os.environ['REDIS_URL']}/1")
app.conf.update(
    worker_prefetch_multiplier=100,
    task_acks_late=False,
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
)
noop = app.task(work.noop, name="bench.noop")
tell_start = app.task(work.tell_start, name="bench.tell_start")
results = Redis.from_url(app.conf.result_backend)


def prepare() -> None:
    results.flushall()


def enqueue() -> Any:
    return noop.delay().id


def stored() -> int:
    return int(results.dbsize())


def result(handle: Any) -> object:
    return AsyncResult(handle, app=app).result


def probe(path: str) -> None:
    tell_start.delay(path)
