"""Chooses how the queue's statements are executed: as single statements on PostgreSQL, elsewhere through the ORM."""

from django.db import connections

from jobs.models.queue.sql_portable import Portable
from jobs.models.queue.sql_postgresql import PostgreSQL

_POSTGRESQL, _PORTABLE = PostgreSQL(), Portable()


def sql_for(alias: str) -> Portable:
    return _POSTGRESQL if connections[alias].vendor == "postgresql" else _PORTABLE
