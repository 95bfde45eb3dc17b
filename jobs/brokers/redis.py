"""The Redis broker: a list of job ids wakes the workers. The rows stay the truth, so FLUSHALL costs a second."""

from collections.abc import Iterable
from time import sleep
from typing import Any

import redis
import structlog
from django.conf import settings
from django_q.brokers.redis_broker import Redis as DjangoQRedis
from django_q.conf import Conf

from jobs.brokers.claims import ClaimsJobs
from jobs.models import Job

log = structlog.get_logger(__name__)

WAIT = 1.0
"""Seconds between two looks at the rows by a worker that is told of none: scheduled ones, and whatever was lost."""
MOST_IDS = 1000
"""Ids are kept for workers that wait; nobody reads more, and nobody may serve a queue."""
PLAIN = "plain"
"""What stands among the ids for a plain django-q task: it too is worth a look."""
TAKE = """
local now = tonumber(redis.call('TIME')[1])
local task = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1)[1] or redis.call('LPOP', KEYS[1])
if task then redis.call('ZADD', KEYS[2], now + ARGV[1], task) end
return task
"""
"""A task that was taken long ago and never acknowledged, or else the next one, in one step: so none is lost."""


class Redis(ClaimsJobs, DjangoQRedis):  # type: ignore[misc]
    """Job ids are in lists of their own, one a queue and one of all, beside django-q's messages.

    django-q2's broker forgets a message when it hands it out. Here it stays, in a set ordered by when it is due again,
    until it is acknowledged: a task that fails or loses its worker comes again, as it does on the other brokers.
    """

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._served = list_key or Conf.CLUSTER_NAME
        self._taken = f"{self.list_key}:taken"

    @property
    def queue_name(self) -> str:
        return self._served

    @staticmethod
    def get_connection(list_key: str | None = None) -> "redis.Redis":
        return redis.Redis.from_url(settings.BROKER["url"], socket_connect_timeout=2, socket_timeout=WAIT + 2)

    def announce(self, jobs: Iterable[Job]) -> None:
        """Wake a worker for each. A Redis that is away delays them, for their rows are stored."""
        pipeline = self.connection.pipeline(transaction=False)
        for job in jobs:
            pipeline.rpush(_ids(job.queue), str(job.pk)).rpush(_ids(Conf.PREFIX), str(job.pk))
            pipeline.ltrim(_ids(job.queue), -MOST_IDS, -1).ltrim(_ids(Conf.PREFIX), -MOST_IDS, -1)
        try:
            pipeline.execute()
        except redis.RedisError:
            log.warning("broker_unavailable", exc_info=True)

    def enqueue(self, task: bytes | str) -> int:
        """A plain django-q task; the length of the queue with it."""
        pipeline = self.connection.pipeline()
        pipeline.rpush(self.list_key, task)
        pipeline.rpush(_ids(self.queue_name), PLAIN).ltrim(_ids(self.queue_name), -MOST_IDS, -1)
        length: int = pipeline.execute()[0]
        return length

    def dequeue(self) -> list[tuple[bytes, bytes]]:
        """A plain django-q task, if there is one: where a worker waits is wait()."""
        try:
            task: Any = self.connection.eval(TAKE, 2, self.list_key, self._taken, Conf.RETRY)
        except redis.RedisError:
            log.warning("broker_unavailable", exc_info=True)
            return []
        return [(task, task)] if task else []

    def acknowledge(self, task: bytes) -> None:
        """Not to come again; should Redis be away at this moment, it does."""
        try:
            self.connection.zrem(self._taken, task)
        except redis.RedisError:
            log.warning("broker_unavailable", exc_info=True)

    fail = delete = acknowledge

    def lock_size(self) -> int:
        size: Any = self.connection.zcard(self._taken)
        return int(size)

    def wait(self) -> None:
        """Until an id or a plain task arrives, at most WAIT seconds."""
        try:
            if self.connection.blpop([_ids(self.queue_name)], timeout=WAIT):
                # Who wakes claims whatever is due, so the ids behind this one have nothing more to say.
                self.connection.delete(_ids(self.queue_name))
        except redis.RedisError:
            log.warning("broker_unavailable", exc_info=True)
            sleep(WAIT)


def _ids(queue: str) -> str:
    return f"legwork:jobs:{queue}"
