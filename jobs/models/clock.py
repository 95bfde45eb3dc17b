"""The database's clock, by which jobs are due: a machine's own may be wrong, and the machines of a cluster differ."""

import time
from datetime import datetime, timedelta

from django.db import connections
from django.utils import timezone

from routers import PRIMARY

ASKED_EVERY = 1.0
"""Seconds for which an answer serves, so that a batch of jobs costs one question."""

_answer: tuple[float, datetime] | None = None
"""When the database was asked, by this process's monotonic clock, and what it said."""


def database_now() -> datetime:
    """The time by the primary's clock; at most one statement a second."""
    global _answer
    connection = connections[PRIMARY]
    if connection.vendor != "postgresql":
        return timezone.now()  # it is in this process
    asked_at = time.monotonic()
    if _answer is None or asked_at - _answer[0] >= ASKED_EVERY:
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            _answer = asked_at, cursor.fetchone()[0]
    before, said = _answer
    return said + timedelta(seconds=asked_at - before)
