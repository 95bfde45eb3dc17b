"""Ending what a handler waits for at a database, from another thread.

libpq goes on waiting after a signal, and an asynchronous exception is raised between bytecodes only, so neither ends a
query. psycopg2's cancel() holds the GIL until the server answers, which a server that hangs never does. Shutting the
socket down works at once and needs no server; that one notices by client_connection_check_interval.
"""

import os
import socket
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import psycopg2
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2.extensions import TRANSACTION_STATUS_ACTIVE

_cut: WeakSet[Any] = WeakSet()
"""Drivers' connections whose socket was shut down. One whose statement was just over does not notice by itself."""


def databases_of_this_thread() -> list[BaseDatabaseWrapper]:
    """Its connections, opened or not: they are the thread's own, and the handler will use these objects."""
    return [connections[alias] for alias in connections]


def end_waits(databases: Iterable[BaseDatabaseWrapper]) -> bool:
    """Make each statement that another thread executes on one of these fail now; says whether there was one."""
    ended = [_end_wait(database.connection) for database in databases if database.connection is not None]
    return any(ended)


def was_cut(driver: Any) -> bool:
    """True if a statement of this driver's connection was ended so: no other can be executed there."""
    return driver in _cut


def _end_wait(driver: Any) -> bool:
    if isinstance(driver, sqlite3.Connection):
        driver.interrupt()
        return False  # there may have been no statement
    with suppress(psycopg2.Error, OSError):
        if driver.info.transaction_status == TRANSACTION_STATUS_ACTIVE:
            _cut.add(driver)
            with socket.socket(fileno=os.dup(driver.fileno())) as end:
                end.shutdown(socket.SHUT_RDWR)
            return True
    return False
