"""Asks the primary and the replicas how they are, once or twice a second in each process, for replica_pool.py to judge.

A server may refuse, be cut off, or accept a query and never answer. In each case it is ejected; nobody waits for it.
"""

import os
import random
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from concurrent.futures import Future, wait
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any
from weakref import WeakSet

import psycopg2
import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, connections

from project.replicas.replica_pool import ReplicaPool, State
from rest import outage
from routers import PRIMARY, pool

log = structlog.get_logger(__name__)

PROBE_EVERY = (0.5, 1.0)
"""Seconds between two rounds, drawn at random so that many processes do not ask at the same time."""
CHECKS, CHECK = 15, 0.1
"""A server counts as silent if it has not answered after so many checks, so many seconds apart. A check that comes late
counts once: if this process or the whole machine was suspended, the servers are not to blame."""
CHECK_PRIMARY_EVERY = 1.0
"""Seconds between two tries by requests to reach a primary that is out."""

ASK_REPLICA = """
    SELECT pg_is_in_recovery(),
        coalesce(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0'), 0)::bigint,
        coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0)::float,
        EXISTS (SELECT FROM pg_stat_wal_receiver)
"""
ASK_PRIMARY = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"


class Probe:
    """A background thread, started by the first request, with a connection to each server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = 0
        self._first_round_done = threading.Event()
        self._connections: dict[str, Connection] = {}
        self._replica_pool = ReplicaPool()
        self.for_requests = False
        """True in a process that answers requests: they cannot wait for a hung primary, as a worker can."""

    def ensure_started(self) -> None:
        """Start the thread once in every process (a fork has no threads), and wait for its first round."""
        if not settings.REPLICAS:
            return
        if self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._first_round_done, self._connections = threading.Event(), {}
                    threading.Thread(target=self._run, name="replicas", daemon=True).start()
                    self._pid = os.getpid()
        self._first_round_done.wait(3 * CHECKS * CHECK)

    def round(self) -> None:
        """Ask all replicas and then the primary, and tell the router.

        In the other order, a primary that dies in between would eject all replicas, as they no longer receive.
        """
        states = self._answers({alias: partial(state_of, alias) for alias in settings.REPLICAS})
        written = self._answers({PRIMARY: primary_position})[PRIMARY]
        pool.primary_is_out = not isinstance(written, int)
        if not pool.primary_is_out:
            outage.database.end()
        for alias, state in states.items():
            self._replica_pool.update(alias, state, written if isinstance(written, int) else None)
        for alias, answer in (states | {PRIMARY: written}).items():
            if not isinstance(answer, TimeoutError):
                _silent.discard(alias)
            elif alias != PRIMARY or self.for_requests:
                close(alias)

    def _run(self) -> None:
        while True:
            try:
                self.round()
            except Exception:
                log.exception("replicas_not_probed")
            self._first_round_done.set()
            time.sleep(random.uniform(*PROBE_EVERY))  # noqa: S311 not a secret

    def _answers(self, questions: dict[str, Callable[[], Any]]) -> dict[str, Any]:
        """By server: its answer or the exception that it caused; TimeoutError if there is no answer in time."""
        asked = {alias: self._connection_for(alias).ask(question) for alias, question in questions.items()}
        _wait_for(asked.values())
        return {
            alias: (future.exception() or future.result()) if future.done() else TimeoutError()
            for alias, future in asked.items()
        }

    def _connection_for(self, alias: str) -> "Connection":
        if alias not in self._connections:
            self._connections[alias] = Connection(alias)
        return self._connections[alias]


def _wait_for(answers: "Collection[Future[Any]]") -> None:
    for _ in range(CHECKS):
        if not wait(answers, CHECK).not_done:
            return


background_probe = Probe()
"""Of this process."""


class Connection(threading.Thread):
    """Asks one server, in a thread with its own database connection, so that nobody else waits for the answer."""

    def __init__(self, alias: str) -> None:
        super().__init__(name=f"probe of {alias}", daemon=True)
        self._questions: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._answer: Future[Any] | None = None
        self.start()

    def ask(self, question: Callable[[], Any]) -> "Future[Any]":
        """The future answer. While the previous question is unanswered, that one's: nothing new is asked."""
        if self._answer is None or self._answer.done():
            self._answer = Future()
            self._questions.put((question, self._answer))
        return self._answer

    def run(self) -> None:
        while True:
            question, answer = self._questions.get()
            try:
                answer.set_result(question())
            except Exception as error:
                answer.set_exception(error)


def primary_position() -> int | None:
    """How far the primary has written, in bytes of WAL; None if it does not answer."""
    try:
        [position] = ask(PRIMARY, ASK_PRIMARY)
    except (DatabaseError, InterfaceError):
        return None
    return int(position)


def state_of(alias: str) -> State:
    """Raises the database's errors."""
    return State(*ask(alias, ASK_REPLICA))


_last_check_of_primary = 0.0


def primary_is_available() -> bool:
    """As far as is known. A primary that is out is asked again, at most once per CHECK_PRIMARY_EVERY."""
    global _last_check_of_primary
    if pool.primary_is_out and time.monotonic() - _last_check_of_primary > CHECK_PRIMARY_EVERY:
        _last_check_of_primary = time.monotonic()
        pool.primary_is_out = not answers(PRIMARY)
    return not pool.primary_is_out


def answers(alias: str) -> bool:
    try:
        ask(alias, "SELECT 1")
    except (DatabaseError, InterfaceError):
        return False
    return True


def ask(alias: str, query: str, *values: Any) -> tuple[Any, ...]:
    """The first row of the result. Reconnects if the existing connection is broken: a balancer may have cut it, and
    now leads to another server."""
    if connections[alias].connection is not None:
        with suppress(DatabaseError, InterfaceError):
            return _first_row(alias, query, values)
    return _first_row(alias, query, values)


_this_thread = threading.local()
"""asks: True while this thread asks a server, and so may connect to one that is silent."""


def _first_row(alias: str, query: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    connection = connections[alias]
    try:
        _this_thread.asks = True
        with connection.cursor() as cursor:
            cursor.execute(query, values or None)
            row: tuple[Any, ...] = cursor.fetchone()
            return row
    except BaseException:
        connection.close()
        raise
    finally:
        _this_thread.asks = False


_silent: set[str] = set()
"""Servers that accept queries and do not answer, according to the probe."""
_open: dict[str, WeakSet[Any]] = defaultdict(WeakSet)
"""This process's driver connections, by server."""
_open_lock = threading.Lock()


def register(alias: str, connection: Any) -> None:
    """Remember a new connection, for close(). Called by the database backend (project/postgresql)."""
    with _open_lock:
        _open[alias].add(connection)


def refuse_if_silent(alias: str) -> None:
    """Raise the driver's error instead of connecting to a silent server. The probe itself may connect."""
    if alias in _silent and not getattr(_this_thread, "asks", False):
        raise psycopg2.OperationalError(f"{alias} does not answer")


def close(alias: str) -> None:
    """Cut all connections to a silent server, so that threads that wait there get an error and can go elsewhere.

    Neither TCP nor the driver would report it: the kernel of a suspended process goes on acknowledging packets.
    """
    with _open_lock:
        _silent.add(alias)
        cut = list(_open[alias])
        _open[alias].clear()
    for connection in cut:
        with suppress(psycopg2.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as raw:
            raw.shutdown(socket.SHUT_RDWR)
    if cut:
        log.warning("database_connections_closed", database=alias, connections=len(cut))
