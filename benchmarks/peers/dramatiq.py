"""RedisBroker with its default middleware and the Results middleware on RedisBackend, JSON, 8 threads and the prefetch
that each worker process has by default, hiredis."""

import os
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks import work

broker = RedisBroker(url=f"{os.environ['REDIS_URL']}/0")
results = RedisBackend(url=f"{os.environ['REDIS_URL']}/1")
broker.add_middleware(Results(backend=results))
dramatiq.set_broker(broker)
noop = dramatiq.actor(work.noop, store_results=True)
tell_start = dramatiq.actor(work.tell_start)


def prepare() -> None:
    broker.client.flushall()


def enqueue() -> Any:
    return noop.send()


def stored() -> int:
    return int(results.client.dbsize())


def result(handle: Any) -> object:
    return handle.get_result(backend=results)


def probe(path: str) -> None:
    tell_start.send(path)
