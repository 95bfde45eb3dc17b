"""The Redis broker: lists of wake-ups, by channel. Jobs are in the database, so FLUSHALL delays them by a second."""

import itertools
import os
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from typing import Any

import redis
import structlog
from django.conf import settings
from django_q.brokers.redis_broker import Redis as DjangoQRedis
from django_q.conf import Conf
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobs.brokers.messages import NOTIFY_TIMEOUT, WakeupBroker
from jobs.brokers.wakeups import Channel, Wakeups
from rest import outage

log = structlog.get_logger(__name__)

MAX_LENGTH, TRIM_EVERY = 1000, 20
"""Once in TRIM_EVERY messages each process cuts the lists to MAX_LENGTH: a queue may have no worker that empties it."""
WAKEUP = "1"
"""An entry of a list wakes one worker."""
DEQUEUE = """
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
"""First tasks taken `retry` seconds ago and never acknowledged, then new ones. Atomic, so that none is lost."""


class Redis(WakeupBroker, DjangoQRedis):  # type: ignore[misc]
    """Keeps wake-ups in lists of their own, one per channel, beside django-q's messages.

    django-q2's broker deletes a message when a worker takes it. Here it stays in a set, ordered by when it is due
    again, until it is acknowledged: a task that fails or loses its worker is delivered again, as on the other brokers.
    """

    WAIT = 1.0

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._served = list_key or Conf.CLUSTER_NAME

    @property
    def _unacknowledged(self) -> str:
        """The key of tasks that were taken and not acknowledged. A property: django-q may change list_key later."""
        return f"{self.list_key}:taken"

    @property
    def queue_name(self) -> str:
        return self._served

    @staticmethod
    def get_connection(list_key: str | None = None) -> "redis.Redis":
        return _connection(connect=2, answer=Redis.WAIT + 2)

    @cached_property
    def _unanswered(self) -> "UnansweredConnections":
        return UnansweredConnections()

    def send_wakeups(self, wakeups: Wakeups) -> None:
        """Does not wait for an answer, which would say little: a wake-up may be lost in any case."""
        number = next(self._sent)
        lengths = tuple((_list_of(channel), len(ids)) for channel, ids in wakeups.items())
        self._unanswered.send(_message(lengths, trim=number % TRIM_EVERY == 0))

    @cached_property
    def _sent(self) -> "itertools.count[int]":
        return itertools.count()

    def enqueue(self, task: bytes | str) -> int:
        """Add a plain django-q task; returns the new length of the queue."""
        pipeline = self.connection.pipeline()
        pipeline.rpush(self.list_key, task)
        _wake(pipeline, (self.queue_name, False))
        length: int = pipeline.execute()[0]
        return length

    def dequeue(self) -> list[tuple[bytes, str]] | None:
        """Up to `bulk` plain django-q tasks. None, without waiting, if there is none."""
        nothing: list[bytes] = []
        return [(task, task.decode()) for task in self._breaker.call(self._dequeue, nothing)] or None

    def acknowledge(self, task: bytes) -> None:
        """Forget the task. If Redis is unreachable now, it is delivered again."""
        try:
            self.connection.zrem(self._unacknowledged, task)
        except redis.RedisError as error:
            outage.broker.note(error)

    fail = delete = acknowledge

    def release(self, task: bytes) -> None:
        """Make the task available to any worker at once; after `retry` seconds if Redis is unreachable now."""
        try:
            pipeline = self.connection.pipeline()
            pipeline.zadd(self._unacknowledged, {task: 0}, xx=True)
            _wake(pipeline, (self.queue_name, False))
            pipeline.execute()
        except redis.RedisError as error:
            outage.broker.note(error)

    def queue_size(self) -> int:
        """How many tasks are available, counting taken ones that are due again."""
        pipeline = self.connection.pipeline()
        pipeline.llen(self.list_key).zcount(self._unacknowledged, "-inf", self._now())
        return sum(pipeline.execute())

    def lock_size(self) -> int:
        """How many tasks are taken and not due again."""
        size: Any = self.connection.zcount(self._unacknowledged, f"({self._now()}", "+inf")
        return int(size)

    def _now(self) -> int:
        """The server's clock: Unix time in seconds."""
        time: Any = self.connection.time()
        return int(time[0])

    def purge_queue(self) -> int:
        """Delete waiting and taken tasks; returns how many Redis keys existed."""
        count: Any = self.connection.delete(self.list_key, self._unacknowledged)
        return int(count)

    delete_queue = purge_queue

    def peek(self, limit: int) -> list[tuple[bytes, datetime | None]]:
        """The first tasks, for the admin. The time says when a taken task is due again; None for a waiting task."""
        pipeline = self.connection.pipeline()
        pipeline.zrange(self._unacknowledged, 0, limit - 1, withscores=True).lrange(self.list_key, 0, limit - 1)
        taken, waiting = pipeline.execute()
        found = [(task, datetime.fromtimestamp(score, UTC)) for task, score in taken]
        return [*found, *((task, None) for task in waiting)][:limit]

    def listen(self) -> None:
        if self.connection.blpop([_list_of(self.channel)], timeout=self.WAIT):
            # A woken worker claims whatever is due, so the remaining wake-ups are not needed.
            self.connection.delete(_list_of(self.channel))

    def _dequeue(self) -> list[bytes]:
        tasks: Any = self.connection.eval(DEQUEUE, 2, self.list_key, self._unacknowledged, Conf.RETRY, Conf.BULK)
        return list(tasks)


class UnansweredConnections:
    """Connections on which Redis does not reply, shared by the threads of a process; a new one if none is idle."""

    def __init__(self) -> None:
        self._idle: list[Any] = []
        self._process = os.getpid()

    def send(self, message: bytes) -> None:
        if self._process != os.getpid():  # after a fork: the parent's are not ours
            self._idle, self._process = [], os.getpid()
        connection = self._idle.pop() if self._idle else self._new()
        if _is_closed(connection):
            connection.disconnect()
        connection.send_packed_command([message], check_health=False)
        self._idle.append(connection)

    def _new(self) -> Any:
        client = _connection(connect=NOTIFY_TIMEOUT, answer=NOTIFY_TIMEOUT, redis_connect_func=_turn_answers_off)
        return client.connection_pool.make_connection()


def _is_closed(connection: Any) -> bool:
    """Whether Redis has closed it since its last use. There is never an answer to read."""
    try:
        return bool(connection.can_read())
    except redis.ConnectionError:
        return True


@lru_cache(maxsize=256)
def _message(lengths: tuple[tuple[str, int], ...], *, trim: bool) -> bytes:
    """The bytes of the commands that add wake-ups to lists. lengths: keys of lists, and how many are added to each."""
    commands: list[tuple[str, ...]] = []
    for key, length in lengths:
        commands.append(("RPUSH", key, *[WAKEUP] * length))
        if trim:
            commands.append(("LTRIM", key, str(-MAX_LENGTH), "-1"))
    packer: Any = redis.Redis().connection_pool.make_connection()
    return b"".join(packer.pack_commands(commands))


def _list_of(channel: Channel) -> str:
    queue, for_pools = channel
    return f"legwork:jobs:{queue}:threads" if for_pools else f"legwork:jobs:{queue}"


def _wake(pipeline: Any, channel: Channel) -> None:
    pipeline.rpush(_list_of(channel), WAKEUP).ltrim(_list_of(channel), -MAX_LENGTH, -1)


def _turn_answers_off(connection: Any) -> None:
    connection.on_connect()
    connection.send_command("CLIENT", "REPLY", "OFF")


def _connection(connect: float, answer: float, **options: Any) -> "redis.Redis":
    """Timeouts in seconds. Connects at first use; retries once after a broken connection, but not after a timeout."""
    once_more = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
    return redis.Redis.from_url(
        settings.BROKER["url"], socket_connect_timeout=connect, socket_timeout=answer, retry=once_more, **options
    )
