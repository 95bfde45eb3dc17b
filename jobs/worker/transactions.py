"""What handlers leave behind on their connections must not touch what the worker writes afterwards."""

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2.extensions import TRANSACTION_STATUS_IDLE

from jobs.worker.database_waits import was_cut

log = structlog.get_logger(__name__)

State = tuple[bool, int, bool]
NOT_OPENED: State = (False, 0, True)


@contextmanager
def connections_left_clean() -> Iterator[None]:
    """Drop each of this thread's connections that is deeper in transactions after the body, or cannot be used."""
    before = {connection.alias: _state(connection) for connection in connections.all(initialized_only=True)}
    try:
        yield
    finally:
        for connection in connections.all(initialized_only=True):
            if _state(connection) != before.get(connection.alias, NOT_OPENED) or _broken(connection):
                _drop(connection)


def _state(connection: BaseDatabaseWrapper) -> State:
    return connection.in_atomic_block, len(connection.savepoint_ids), connection.autocommit or not connection.connection


def _broken(connection: BaseDatabaseWrapper) -> bool:
    """True if it was cut, or an interruption left it in another state than Django believes."""
    driver = connection.connection
    if driver is None or connection.vendor != "postgresql":
        return False
    in_doubt = connection.autocommit and driver.info.transaction_status != TRANSACTION_STATUS_IDLE
    return bool(driver.closed) or was_cut(driver) or in_doubt


def _drop(connection: BaseDatabaseWrapper) -> None:
    try:
        connection.close()
    except Exception:
        log.warning("connection_not_closed", database=connection.alias, exc_info=True)
    del connections[connection.alias]
