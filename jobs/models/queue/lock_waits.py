"""Lock timeouts of one second (PostgreSQL), for statements on which other work depends."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

LIMIT = "SET {scope} lock_timeout = '1s'"


def limit_lock_waits(connection: BaseDatabaseWrapper) -> None:
    """For the rest of this connection: a statement that waits longer for a lock raises OperationalError."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(LIMIT.format(scope="SESSION"))


@contextmanager
def short_lock_waits(alias: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """A transaction in which a statement that waits longer for a lock raises OperationalError."""
    with transaction.atomic(using=alias):
        if connections[alias].vendor == "postgresql":
            with connections[alias].cursor() as cursor:
                cursor.execute(LIMIT.format(scope="LOCAL"))
        yield
