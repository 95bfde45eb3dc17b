"""A worker pool, JSON, results kept for an hour, hiredis; once with SimpleWorker, which runs jobs in the worker process
itself, and once with the default Worker, which forks a process for each job."""

import os
from typing import Any

from redis import Redis
from rq import Queue
from rq.job import Job
from rq.registry import FinishedJobRegistry
from rq.serializers import JSONSerializer

from benchmarks import work

redis = Redis.from_url(f"{os.environ['REDIS_URL']}/0")
queue = Queue("bench", connection=redis, serializer=JSONSerializer)
registry = FinishedJobRegistry(queue=queue)
KEPT = 3600


def prepare() -> None:
    redis.flushall()


def enqueue() -> Any:
    return queue.enqueue(work.noop, result_ttl=KEPT).id


def enqueue_many(count: int) -> None:
    queue.enqueue_many([Queue.prepare_data(work.noop, result_ttl=KEPT) for _ in range(count)])


def stored() -> int:
    return int(redis.zcard(registry.key))


def result(handle: Any) -> object:
    return Job.fetch(handle, connection=redis, serializer=JSONSerializer).return_value()


def probe(path: str) -> None:
    queue.enqueue(work.tell_start, path, result_ttl=0)
