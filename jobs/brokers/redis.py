"""The Redis broker: a list of job ids wakes the workers. The rows stay the truth, so FLUSHALL costs a second."""

from datetime import UTC, datetime
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
local taken = {}
while #taken < tonumber(ARGV[2]) do
  local task = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 1)[1] or redis.call('LPOP', KEYS[1])
  if not task then break end
  redis.call('ZADD', KEYS[2], now + ARGV[1], task)
  taken[#taken + 1] = task
end
return taken
"""
"""Tasks taken `retry` seconds ago and never acknowledged, then new ones; in one step, so that none is lost."""


class Redis(WakesByMessage, DjangoQRedis):  # type: ignore[misc]
    """Job ids are in lists of their own, one a channel, beside django-q's messages.

    django-q2's broker forgets a message when it hands it out. Here it stays, in a set ordered by when it is due again,
    until it is acknowledged: a task that fails or loses its worker comes again, as it does on the other brokers.
    """

    WAIT = 1.0

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._served = list_key or Conf.CLUSTER_NAME

    @property
    def _taken(self) -> str:
        """Where tasks are that were taken and not acknowledged; django-q may give a broker another list_key."""
        return f"{self.list_key}:taken"

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

    def dequeue(self) -> list[tuple[bytes, str]] | None:
        """Up to `bulk` plain django-q tasks; None, at once, if there is none."""
        nothing: list[bytes] = []
        return [(task, task.decode()) for task in self._breaker.attempt(self._take, nothing)] or None

    def acknowledge(self, task: bytes) -> None:
        """Not to come again; should Redis be away at this moment, it does."""
        try:
            self.connection.zrem(self._taken, task)
        except redis.RedisError:
            log.warning("broker_unavailable", exc_info=True)

    fail = delete = acknowledge

    def release(self, task: bytes) -> None:
        """Let any worker have the task again at once; should Redis be away at this moment, after `retry` seconds."""
        try:
            pipeline = self.connection.pipeline()
            pipeline.zadd(self._taken, {task: 0}, xx=True)
            ids = _ids((self.queue_name, False))
            pipeline.rpush(ids, PLAIN).ltrim(ids, -MOST_IDS, -1)
            pipeline.execute()
        except redis.RedisError:
            log.warning("broker_unavailable", exc_info=True)

    def queue_size(self) -> int:
        """How many tasks wait, those among them that were taken and are due again."""
        pipeline = self.connection.pipeline()
        pipeline.llen(self.list_key).zcount(self._taken, "-inf", self._now())
        return sum(pipeline.execute())

    def lock_size(self) -> int:
        """How many tasks were taken and are not due again."""
        size: Any = self.connection.zcount(self._taken, f"({self._now()}", "+inf")
        return int(size)

    def _now(self) -> int:
        """Seconds by the server's clock."""
        time: Any = self.connection.time()
        return int(time[0])

    def purge_queue(self) -> int:
        """Drop the tasks that wait and those that were taken; returns how many keys there were."""
        count: Any = self.connection.delete(self.list_key, self._taken)
        return int(count)

    delete_queue = purge_queue

    def peek(self, limit: int) -> list[tuple[bytes, datetime | None]]:
        """The first tasks of the queue, and when one that was taken is due again: for those who look after it."""
        pipeline = self.connection.pipeline()
        pipeline.zrange(self._taken, 0, limit - 1, withscores=True).lrange(self.list_key, 0, limit - 1)
        taken, waiting = pipeline.execute()
        found = [(task, datetime.fromtimestamp(score, UTC)) for task, score in taken]
        return [*found, *((task, None) for task in waiting)][:limit]

    def listen(self) -> None:
        if self.connection.blpop([_ids(self.channel)], timeout=self.WAIT):
            # Who wakes claims whatever is due, so the ids behind this one have nothing more to say.
            self.connection.delete(_ids(self.channel))

    def _take(self) -> list[bytes]:
        tasks: Any = self.connection.eval(TAKE, 2, self.list_key, self._taken, Conf.RETRY, Conf.BULK)
        return list(tasks)


def _ids(channel: Channel) -> str:
    queue, for_pools = channel
    return f"legwork:jobs:{queue}:threads" if for_pools else f"legwork:jobs:{queue}"


def _connection(connect: float, answer: float) -> "redis.Redis":
    """Made when it is first used, with so many seconds for each. One that was cut is made anew, silence is believed."""
    once_more = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(
        settings.BROKER["url"], socket_connect_timeout=connect, socket_timeout=answer, retry=once_more
    )
