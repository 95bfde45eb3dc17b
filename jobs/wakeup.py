"""How a worker that has nothing to do learns of new jobs: PostgreSQL tells it (NOTIFY, by a trigger on the table)."""

import select
import time

from django.db import connection

CHANNEL = "legwork_jobs"

LOOK_AGAIN = 0.01
"""Seconds after a notification in which there is none for further jobs (5 ms, by the trigger, and as much to spare)."""

_listening_on: object = None
"""The driver's connection that has said LISTEN; a new one has to say it again."""
_look_again_at: float | None = None


def wait(seconds: float) -> None:
    """Until a job is inserted somewhere, or so many seconds have passed; elsewhere than on PostgreSQL only the latter.

    A notification that is lost costs no more than the wait.
    """
    if connection.vendor != "postgresql":
        time.sleep(seconds)
    elif _begin_to_listen() or _take_notifications():
        return
    else:
        select.select([connection.connection], [], [], _until_the_next_look(seconds))
        _take_notifications()


def _until_the_next_look(seconds: float) -> float:
    """One wait after each notification is short, or over at once where that time has passed already."""
    global _look_again_at
    if _look_again_at is None:
        return seconds
    soon, _look_again_at = _look_again_at - time.monotonic(), None
    return min(max(soon, 0), seconds)


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
    global _look_again_at
    raw = connection.connection
    raw.poll()
    notified = bool(raw.notifies)
    raw.notifies.clear()
    if notified:
        _look_again_at = time.monotonic() + LOOK_AGAIN
    return notified
