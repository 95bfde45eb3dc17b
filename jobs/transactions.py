"""What handlers leave behind: no open transaction of theirs may swallow what the worker writes afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper


@contextmanager
def none_left_open() -> Iterator[None]:
    """Drop each of this thread's connections that is deeper in transactions after the body than before it."""
    before = {connection.alias: _depth(connection) for connection in connections.all(initialized_only=True)}
    try:
        yield
    finally:
        for connection in connections.all(initialized_only=True):
            if _depth(connection) != before.get(connection.alias, OUTSIDE):
                connection.close()
                del connections[connection.alias]


OUTSIDE = (False, 0, True)


def _depth(connection: BaseDatabaseWrapper) -> tuple[bool, int, bool]:
    return connection.in_atomic_block, len(connection.savepoint_ids), connection.autocommit or not connection.connection
