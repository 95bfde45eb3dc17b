"""How a worker that has nothing to do learns of new jobs: PostgreSQL tells it (NOTIFY, by a trigger on the table)."""

import select
import time

from django.db import connection

CHANNEL = "legwork_jobs"

_listening_on: object = None
"""The driver's connection that has said LISTEN; a new one has to say it again."""


def wait(seconds: float) -> None:
    """Until a job is inserted somewhere, or so many seconds have passed; elsewhere than on PostgreSQL only the latter.

    A notification that is lost costs no more than the wait.
    """
    if connection.vendor != "postgresql":
        time.sleep(seconds)
    elif _begin_to_listen() or _take_notifications():
        return
    else:
        select.select([connection.connection], [], [], seconds)
        _take_notifications()


def _begin_to_listen() -> bool:
    """Whether it begins only now, so that what came before may have been missed."""
    global _listening_on
    connection.ensure_connection()
    if _listening_on is connection.connection:
        return False
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {CHANNEL}")
    _listening_on = connection.connection
    return True


def _take_notifications() -> bool:
    raw = connection.connection
    raw.poll()
    notified = bool(raw.notifies)
    raw.notifies.clear()
    return notified
