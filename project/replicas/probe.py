"""Asking database servers, also those that take a question and say nothing, and hanging up on them."""

import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from queue import SimpleQueue
from typing import Any
from weakref import WeakSet

import psycopg2
import structlog
from django.db import DatabaseError, InterfaceError, connections

from routers import PRIMARY, pool

log = structlog.get_logger(__name__)

LOOK_EVERY = 1.0
"""Seconds between two looks, by requests that need it, whether a primary is back that was out."""


def ask(alias: str, question: str, *values: Any) -> tuple[Any, ...]:
    """The first row of the answer. A kept connection may have been cut by a balancer that leads elsewhere from now on:
    then a new one is asked."""
    if connections[alias].connection is not None:
        with suppress(DatabaseError, InterfaceError):
            return _row(alias, question, values)
    return _row(alias, question, values)


_asking = threading.local()


def _row(alias: str, question: str, values: tuple[Any, ...]) -> tuple[Any, ...]:
    connection = connections[alias]
    try:
        _asking.now = True
        with connection.cursor() as cursor:
            cursor.execute(question, values or None)
            row: tuple[Any, ...] = cursor.fetchone()
            return row
    except BaseException:
        connection.close()
        raise
    finally:
        _asking.now = False


def answers(alias: str) -> bool:
    try:
        ask(alias, "SELECT 1")
    except (DatabaseError, InterfaceError):
        return False
    return True


_looked_at = 0.0


def primary_is_there() -> bool:
    """As far as is known. While it is believed to be out it is asked, once a second, for it may be back this moment."""
    global _looked_at
    if pool.primary_is_out and time.monotonic() - _looked_at > LOOK_EVERY:
        _looked_at = time.monotonic()
        pool.primary_is_out = not answers(PRIMARY)
    return not pool.primary_is_out


class Line(threading.Thread):
    """Puts questions to one server, on a connection of its own, so that nobody else waits for the answer."""

    def __init__(self, alias: str) -> None:
        super().__init__(name=f"probe of {alias}", daemon=True)
        self._questions: SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = SimpleQueue()
        self._answer: Future[Any] | None = None
        self.start()

    def ask(self, question: Callable[[], Any]) -> "Future[Any]":
        """Its answer, some time; that to the question before, while the server still owes it."""
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


_silent: set[str] = set()
"""Servers that say nothing, by the probe's word."""
_open: dict[str, WeakSet[Any]] = defaultdict(WeakSet)
"""The driver's connections of this process, by server."""
_open_lock = threading.Lock()


def note(alias: str, connection: Any) -> None:
    """There is a new connection to this server."""
    with _open_lock:
        _open[alias].add(connection)


def hang_up(alias: str) -> None:
    """Cut the connections to a server that says nothing: who waits there learns of it, and may go elsewhere.

    Neither TCP nor the driver would tell: a process that stands still is acknowledged by its kernel.
    """
    with _open_lock:
        _silent.add(alias)
        cut = list(_open[alias])
        _open[alias].clear()
    for connection in cut:
        with suppress(psycopg2.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as raw:
            raw.shutdown(socket.SHUT_RDWR)
    if cut:
        log.warning("database_hung_up", database=alias, connections=len(cut))


def heard_from(alias: str) -> None:
    """It says something, if only no."""
    _silent.discard(alias)


def refuse_if_silent(alias: str) -> None:
    """Raises the driver's error for who would connect to a server that says nothing, but to ask if it still does."""
    if alias in _silent and not getattr(_asking, "now", False):
        raise psycopg2.OperationalError(f"{alias} does not answer")
