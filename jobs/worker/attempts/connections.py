"""The database connections of handlers: cleaned up after an attempt, and cut from another thread to interrupt one.

Why cut: libpq goes on waiting after a signal, and an asynchronous exception is raised only between bytecodes, so
neither ends a query. psycopg2's cancel() holds the GIL until the server answers, which a hung server never does.
Shutting the socket down works at once, without the server, which notices it by client_connection_check_interval.
"""

import os
import socket
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import psycopg2
import structlog
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2.extensions import TRANSACTION_STATUS_ACTIVE, TRANSACTION_STATUS_IDLE

log = structlog.get_logger(__name__)

State = tuple[bool, int, bool]
"""In an atomic block; number of savepoints; in autocommit mode."""

_shut_down: WeakSet[Any] = WeakSet()
"""Driver connections whose socket was shut down. If their statement had just ended, they do not notice themselves."""


class CleanConnections:
    """This thread's connections, one for each database, opened or not: a handler will use these very objects.

    After the block, those are dropped that are in another transaction state or broken.
    """

    def __enter__(self) -> Sequence[BaseDatabaseWrapper]:
        self._databases = connections.all()
        self._before = list(map(_state, self._databases))
        return self._databases

    def __exit__(self, *error: object) -> None:
        for connection, state in zip(self._databases, self._before, strict=True):
            if _state(connection) != state or _is_broken(connection):
                _drop(connection)


def abort_statements(databases: Iterable[BaseDatabaseWrapper]) -> bool:
    """Make the statement that another thread executes on any of these fail now. True if there was one."""
    aborted = [_abort_statement(database.connection) for database in databases if database.connection is not None]
    return any(aborted)


def _state(connection: BaseDatabaseWrapper) -> State:
    return connection.in_atomic_block, len(connection.savepoint_ids), connection.autocommit or not connection.connection


def _is_broken(connection: BaseDatabaseWrapper) -> bool:
    """True if it was cut, or if an interruption left it in another state than Django assumes."""
    driver = connection.connection
    if driver is None or connection.vendor != "postgresql":
        return False
    in_unknown_transaction = connection.autocommit and driver.info.transaction_status != TRANSACTION_STATUS_IDLE
    return bool(driver.closed) or driver in _shut_down or in_unknown_transaction


def _drop(connection: BaseDatabaseWrapper) -> None:
    try:
        connection.close()
    except Exception:
        log.warning("connection_not_closed", database=connection.alias, exc_info=True)
    del connections[connection.alias]


def _abort_statement(driver: Any) -> bool:
    if isinstance(driver, sqlite3.Connection):
        driver.interrupt()
        return False  # SQLite does not say whether there was a statement
    with suppress(psycopg2.Error, OSError):
        if driver.info.transaction_status == TRANSACTION_STATUS_ACTIVE:
            _shut_down.add(driver)
            with socket.socket(fileno=os.dup(driver.fileno())) as end:
                end.shutdown(socket.SHUT_RDWR)
            return True
    return False
