"""Rows that another transaction has locked are waited for for a second, where others depend on the one that waits."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

LIMIT = "SET {scope} lock_timeout = '1s'"


def limit_lock_waits(connection: BaseDatabaseWrapper) -> None:
    """From here on, on this connection of its own. A statement that waits longer raises OperationalError."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(LIMIT.format(scope="SESSION"))


@contextmanager
def short_lock_waits(alias: str = DEFAULT_DB_ALIAS) -> Iterator[None]:
    """In this transaction. A statement that waits longer raises OperationalError."""
    with transaction.atomic(using=alias):
        if connections[alias].vendor == "postgresql":
            with connections[alias].cursor() as cursor:
                cursor.execute(LIMIT.format(scope="LOCAL"))
        yield
