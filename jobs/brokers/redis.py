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


class Redis(ClaimsJobs, DjangoQRedis):  # type: ignore[misc]
    """django-q2's Redis broker for its own messages; job ids are in lists beside them, one a queue and one of all."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._served = list_key or Conf.CLUSTER_NAME

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

    def dequeue(self) -> list[tuple[None, bytes]]:
        """A plain django-q message, if there is one: where a worker waits is wait()."""
        try:
            message: Any = self.connection.lpop(self.list_key)
        except redis.RedisError:
            log.warning("broker_unavailable", exc_info=True)
            return []
        return [(None, message)] if message else []

    def wait(self) -> None:
        """Until an id or a plain message arrives, at most WAIT seconds."""
        try:
            self._wait()
        except redis.RedisError:
            log.warning("broker_unavailable", exc_info=True)
            sleep(WAIT)

    def _wait(self) -> None:
        woken: Any = self.connection.blpop([_ids(self.queue_name), self.list_key], timeout=WAIT)
        if woken and woken[0].decode() == self.list_key:
            self.connection.lpush(self.list_key, woken[1])
        elif woken:
            # Who wakes claims whatever is due, so the ids behind this one have nothing more to say.
            self.connection.delete(_ids(self.queue_name))


def _ids(queue: str) -> str:
    return f"legwork:jobs:{queue}"
