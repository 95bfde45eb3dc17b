"""For tests of concurrent transactions: threads with connections of their own, and rows that others have locked."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import TypeVar

from django.db import OperationalError, connection, transaction

from demo.eventually import eventually
from jobs.models import Job
from tests.support.factories import disconnected
from tests.support.timeouts import PATIENCE

Result = TypeVar("Result")


def in_threads(*actions: Callable[[], object]) -> None:
    """Each in a thread of its own, until all of them have ended."""
    threads = [threading.Thread(target=disconnecting, args=[action]) for action in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def until_unlocked(action: Callable[[], Result]) -> Result:
    """SQLite in memory refuses at once where it would wait in a file; a worker would try again as well."""
    while True:
        try:
            return action()
        except OperationalError as error:
            if "locked" not in str(error):
                raise


@contextmanager
def locked_elsewhere(job: Job) -> Iterator[None]:
    """In the body, another transaction has locked the job's row; nothing in the body may wait for it."""
    locked, enough, waited_for = threading.Event(), threading.Event(), list[bool]()

    def hold() -> None:
        with disconnected(), transaction.atomic():
            Job.objects.select_for_update().get(pk=job.pk)
            locked.set()
            waited_for.append(not enough.wait(PATIENCE))

    thread = threading.Thread(target=hold)
    thread.start()
    assert locked.wait(PATIENCE)
    try:
        yield
    finally:
        enough.set()
        thread.join()
    assert waited_for == [False], "the row was waited for"


def waiting_for_locks() -> int:
    """How many transactions in this database wait for one another's locks."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_stat_clear_snapshot()")  # a transaction sees the first one for all its time
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])


def disconnecting(action: Callable[[], Result]) -> Result:
    """Call it in a thread, and close the thread's connections."""
    with disconnected():
        return action()


def until_it_waits(pool: Executor, action: Callable[[], Result]) -> Future[Result]:
    """Start it in another thread; returns when it has ended, or waits for a lock of this thread's transaction."""
    future = pool.submit(disconnecting, action)
    eventually(lambda: future.done() or waiting_for_locks(), PATIENCE, "its end, or its wait for a lock")
    return future
