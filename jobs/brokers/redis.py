"""The Redis broker: a list of job ids wakes the workers. The rows stay the truth, so FLUSHALL costs a second."""

from functools import cached_property
from typing import Any

import redis
import structlog
from django.conf import settings
from django_q.brokers.redis_broker import Redis as DjangoQRedis
from django_q.conf import Conf
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.brokers.messages import ANNOUNCED_WITHIN, Channel, Tickets, WakesByMessage

log = structlog.get_logger(__name__)

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


class Redis(WakesByMessage, DjangoQRedis):  # type: ignore[misc]
    """Job ids are in lists of their own, one a channel, beside django-q's messages.

    django-q2's broker forgets a message when it hands it out. Here it stays, in a set ordered by when it is due again,
    until it is acknowledged: a task that fails or loses its worker comes again, as it does on the other brokers.
    """

    WAIT = 1.0

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._served = list_key or Conf.CLUSTER_NAME
        self._taken = f"{self.list_key}:taken"

    @property
    def queue_name(self) -> str:
        return self._served

    @staticmethod
    def get_connection(list_key: str | None = None) -> "redis.Redis":
        return _connection(connect=2, answer=Redis.WAIT + 2)

    @cached_property
    def _for_announcements(self) -> "redis.Redis":
        return _connection(connect=ANNOUNCED_WITHIN, answer=ANNOUNCED_WITHIN)

    def tell(self, tickets: Tickets) -> None:
        pipeline = self._for_announcements.pipeline(transaction=False)
        for channel, ids in tickets.items():
            pipeline.rpush(_ids(channel), *ids)
            pipeline.ltrim(_ids(channel), -MOST_IDS, -1)
        pipeline.execute()

    def enqueue(self, task: bytes | str) -> int:
        """A plain django-q task; the length of the queue with it."""
        pipeline = self.connection.pipeline()
        pipeline.rpush(self.list_key, task)
        ids = _ids((self.queue_name, False))
        pipeline.rpush(ids, PLAIN).ltrim(ids, -MOST_IDS, -1)
        length: int = pipeline.execute()[0]
        return length

    def dequeue(self) -> list[tuple[bytes, bytes]]:
        """A plain django-q task, if there is one: where a worker waits is wait()."""
        task = self._breaker.attempt(self._take, None)
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

    def listen(self) -> None:
        if self.connection.blpop([_ids(self.channel)], timeout=self.WAIT):
            # Who wakes claims whatever is due, so the ids behind this one have nothing more to say.
            self.connection.delete(_ids(self.channel))

    def _take(self) -> bytes | None:
        task: Any = self.connection.eval(TAKE, 2, self.list_key, self._taken, Conf.RETRY)
        return task or None


def _ids(channel: Channel) -> str:
    queue, for_pools = channel
    return f"legwork:jobs:{queue}:threads" if for_pools else f"legwork:jobs:{queue}"


def _connection(connect: float, answer: float) -> "redis.Redis":
    """Made when it is first used, with so many seconds for each. One that was cut is made anew, silence is believed."""
    once_more = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(
        settings.BROKER["url"], socket_connect_timeout=connect, socket_timeout=answer, retry=once_more
    )
