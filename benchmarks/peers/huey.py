"""RedisHuey with blocking reads (its default) and results, pickles (its default), process workers, no periodic tasks,
hiredis."""

import os
from typing import Any

from huey import RedisHuey

from benchmarks import work

queue = RedisHuey("bench", url=f"{os.environ['REDIS_URL']}/0")
noop = queue.task()(work.noop)
tell_start = queue.task()(work.tell_start)


def prepare() -> None:
    queue.storage.conn.flushall()


def enqueue() -> Any:
    return noop().id


def stored() -> int:
    return int(queue.result_count())


def result(handle: Any) -> object:
    return queue.result(handle, preserve=True)


def probe(path: str) -> None:
    tell_start(path)
