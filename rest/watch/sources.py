"""How a process learns that watched rows have changed: PostgreSQL's notifications, or polling.

settle() gives the version below which no further change can appear.
"""

import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from math import inf
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid4

from django.db.backends.base.base import BaseDatabaseWrapper

from rest.pooler import is_pooled
from rest.watch.table import LARGEST, Topic, table_names

CHANNEL = "legwork_changes"
POLL_EVERY = {"sqlite": 0.1, "postgresql": 0.5}
"""Seconds between two looks at a database without notifications. On SQLite most looks cost next to nothing."""
CURRENT = 60.0
"""Seconds for which the triggers notify after this process has announced that somebody watches."""
ANNOUNCE_EVERY = 20.0
"""Seconds."""
LOOK_EVERY = 0.1
"""Seconds between two looks at whether transactions that do not notify are still open."""
LOST_AFTER = 10_000
"""Milliseconds without an acknowledgement after which the kernel gives a connection up."""

ANNOUNCE = """
    SELECT setval('rest_watched_until', greatest(last_value, (extract(epoch FROM clock_timestamp()) + %s)::bigint))
    FROM rest_watched_until
"""
WRITERS = """
    SELECT (extract(epoch FROM statement_timestamp()) * 1000000)::bigint, ARRAY(
        SELECT DISTINCT virtualtransaction FROM pg_locks
        WHERE database = (SELECT oid FROM pg_database WHERE datname = current_database())
            AND relation = ANY (%s::regclass[]::oid[]) AND mode = 'RowExclusiveLock'
    )
"""
"""The present version, and the transactions that may have changed watched rows and are still open: a statement takes
this lock before it gives rows their versions, and it is kept until the transaction has been committed."""

Change = tuple[Topic, Topic | None]
"""The topics of a changed row: itself, and its owner's rows."""


class Settled(NamedTuple):
    """version: no change with a lower one can be committed any more. now: the version of a change made now."""

    version: int
    now: int


class Source(Protocol):
    def wait(self, seconds: float) -> bool:
        """Return at the next news, or after so many seconds. True if everything that is watched must be looked at."""

    def changes(self) -> Iterator[Change]:
        """The rows that are known to have changed since the last call."""

    def settle(self) -> Settled:
        """Each settled change is in the next changes(), or was readable when wait() returned."""


class Wakeup:
    """Lets another thread end a Source's wait()."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def fileno(self) -> int:
        return self._reader

    def set(self) -> None:
        with suppress(BlockingIOError):  # the pipe is full, so it is set already
            os.write(self._writer, b"!")

    def clear(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self._reader, 4096):
                pass

    def close(self) -> None:
        os.close(self._reader)
        os.close(self._writer)


def source_for(connection: BaseDatabaseWrapper, wakeup: Wakeup) -> Source:
    """Notifications on PostgreSQL, unless a pooler may change sessions: it would lose them."""
    connection.ensure_connection()
    if connection.vendor == "postgresql" and not is_pooled(connection.settings_dict):
        return Notifications(connection, wakeup)
    return Polling(connection, wakeup)


class Writers:
    """The open transactions that may have changed watched rows, and since when at the earliest."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self._connection = connection
        self._since: dict[str, int] = {}
        self._looked_at = 0
        self.open: frozenset[str] = frozenset()
        """Those of the last look."""

    def look(self, also: str = "", *values: str) -> Settled:
        """also: a further column of the statement."""
        with self._connection.cursor() as cursor:
            cursor.execute(WRITERS + also, [table_names(), *values])
            now, writers, *_ = cursor.fetchone()
        self.open = frozenset(writers)
        # A transaction that the previous look did not see had changed nothing by then.
        self._since = {writer: self._since.get(writer, self._looked_at) for writer in writers}
        self._looked_at = now
        return Settled(min(self._since.values(), default=now), now)


class Notifications:
    """LISTENs on the connection with which the feed also reads.

    The triggers notify only until the time that was announced last: a notification takes a lock until its transaction
    has been committed, which a busy queue that nobody watches should not pay for. Transactions that made changes before
    the announcement do not notify: when they end, all that is watched is looked at.
    """

    def __init__(self, connection: BaseDatabaseWrapper, wakeup: Wakeup) -> None:
        self._connection = connection
        self._driver: Any = connection.connection
        self._wakeup = wakeup
        self._own_channel = f"{CHANNEL}_{uuid4().hex}"
        self._writers = Writers(connection)
        self._announce_at = time.monotonic()
        self._poll = select.poll()  # not select(), whose file descriptors are below 1024
        self._poll.register(self._driver.fileno(), select.POLLIN)
        self._poll.register(wakeup.fileno(), select.POLLIN)
        self._notice_lost_peers()
        with connection.cursor() as cursor:
            cursor.execute("SET application_name = 'legwork feed'")  # for operators
            cursor.execute(f"LISTEN {CHANNEL}")
            cursor.execute(f"LISTEN {self._own_channel}")
        self._announce()
        self._writers.look()
        self._silent = self._writers.open
        self._look_at = time.monotonic()

    def wait(self, seconds: float) -> bool:
        now = time.monotonic()
        if now >= self._announce_at:
            self._announce()
        until = min(now + seconds, self._announce_at, self._look_at if self._silent else inf)
        if not self._driver.notifies and self._poll.poll(max(until - now, 0) * 1000):
            self._wakeup.clear()
            self._driver.poll()
        if self._silent and time.monotonic() >= self._look_at:
            self._writers.look()
            self._look_at = time.monotonic() + LOOK_EVERY
        # A transaction becomes visible before its locks are released, so what these have changed can be read.
        if self._silent - self._writers.open:
            self._silent &= self._writers.open
            return True
        return any(name.payload.endswith("*") for name in self._driver.notifies)

    def changes(self) -> Iterator[Change]:
        notifications = list(self._driver.notifies)
        del self._driver.notifies[: len(notifications)]
        for notification in notifications:
            table, _, rows = notification.payload.partition(" ")
            for row in rows.split(",") if rows != "*" else ():
                row_id, _, owner = row.partition("/")
                yield Topic(table, UUID(row_id)), Topic(table, int(owner)) if owner else None

    def settle(self) -> Settled:
        """Notifications arrive in the order of the commits. With the one that this statement sends itself, those of all
        transactions that it did not find open have arrived, too."""
        settled = self._writers.look(", pg_notify(%s, '')", self._own_channel)
        self._driver.notifies[:] = [one for one in self._driver.notifies if one.channel == CHANNEL]
        return settled

    def _announce(self) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(ANNOUNCE, [CURRENT])
        self._announce_at = time.monotonic() + ANNOUNCE_EVERY

    def _notice_lost_peers(self) -> None:
        """By default the kernel gives up a connection that was cut silently only after a quarter of an hour."""
        with suppress(OSError, AttributeError), socket.socket(fileno=os.dup(self._driver.fileno())) as raw:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_AFTER)


class Polling:
    """Looks regularly at everything that is watched; on SQLite only if another connection has committed something."""

    def __init__(self, connection: BaseDatabaseWrapper, wakeup: Wakeup) -> None:
        self._connection = connection
        self._wakeup = wakeup
        self._writers = Writers(connection)
        self._poll = select.poll()
        self._poll.register(wakeup.fileno(), select.POLLIN)
        self._version = self._data_version()
        self._settled = Settled(0, 0) if connection.vendor == "postgresql" else Settled(LARGEST, LARGEST)
        """SQLite has one writer at a time."""

    def wait(self, seconds: float) -> bool:
        """Waits POLL_EVERY, however many seconds are asked for, or not at all for 0."""
        if self._poll.poll(POLL_EVERY[self._connection.vendor] * 1000 if seconds else 0):
            self._wakeup.clear()
        if self._connection.vendor == "postgresql":
            self._settled = self._writers.look()
        before, self._version = self._version, self._data_version()
        return before is None or before != self._version

    def changes(self) -> Iterator[Change]:
        return iter(())

    def settle(self) -> Settled:
        return self._settled

    def _data_version(self) -> int | None:
        """None if the database has no such number."""
        if self._connection.vendor != "sqlite":
            return None
        with self._connection.cursor() as cursor:
            cursor.execute("PRAGMA data_version")
            return int(cursor.fetchone()[0])
