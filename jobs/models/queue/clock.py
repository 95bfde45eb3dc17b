"""The primary's clock, which decides whether a job is due: the clocks of a cluster's machines differ."""

import time
from datetime import datetime, timedelta

from django.db import connections
from django.utils import timezone

from routers import PRIMARY

CACHE_SECONDS = 1.0
"""How long one reading of the database's clock is reused: a batch of jobs costs one statement."""

_reading: tuple[float, datetime] | None = None
"""The monotonic time of the last query, and the time that the database returned."""


def database_now() -> datetime:
    """The current time by the primary's clock. Queries it at most once a second."""
    global _reading
    connection = connections[PRIMARY]
    if connection.vendor != "postgresql":
        return timezone.now()  # SQLite runs in this process
    now = time.monotonic()
    if _reading is None or now - _reading[0] >= CACHE_SECONDS:
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            _reading = now, cursor.fetchone()[0]
    read_at, database_time = _reading
    return database_time + timedelta(seconds=now - read_at)
