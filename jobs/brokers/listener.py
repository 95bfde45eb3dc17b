"""Wakes an idle worker for new jobs on PostgreSQL: a trigger on the table sends NOTIFY, this thread LISTENs.

It has its own connection and reads whatever the worker does: unread notifications would pile up in this process and
then in the server, whose backend would block with its snapshot held.
"""

import select
import threading
import time

import psycopg2
import structlog
from django.db import connections

log = structlog.get_logger(__name__)

CHANNEL = "legwork_jobs"
RECHECK_AFTER = 0.01
"""Seconds after a notification until a second check: for 5 ms the trigger sends no other one. The rest is margin."""
RECONNECT_AFTER = 1.0
"""Seconds until a broken connection is opened again. Workers poll meanwhile."""
KEEPALIVE = 10.0
"""Seconds without a notification after which a query tests the connection."""


class Listener(threading.Thread):
    """wait() returns at once after a notification. A lost notification costs no more than one full wait."""

    def __init__(self, database: str = "default") -> None:
        super().__init__(name="listener", daemon=True)
        self._database = database
        self._notified = threading.Event()
        self._recheck_at: float | None = None
        self._stopped = False

    def wait(self, seconds: float) -> None:
        """Return when a job is inserted anywhere, or after this many seconds. The first call starts the thread."""
        if not self.ident:
            self.start()
        if self._notified.wait(self._timeout(seconds)):
            self._notified.clear()
            self._recheck_at = time.monotonic() + RECHECK_AFTER

    def stop(self) -> None:
        """End the thread at the next notification, or within KEEPALIVE seconds."""
        self._stopped = True

    def run(self) -> None:
        while not self._stopped:
            try:
                self._listen()
            except (psycopg2.Error, OSError):
                log.warning("listener_disconnected", retry_in=RECONNECT_AFTER, exc_info=True)
                time.sleep(RECONNECT_AFTER)

    def _timeout(self, seconds: float) -> float:
        """The wait after a notification ends at the recheck, at once if that is already due."""
        if self._recheck_at is None:
            return seconds
        left, self._recheck_at = self._recheck_at - time.monotonic(), None
        return min(max(left, 0), seconds)

    def _listen(self) -> None:
        """Read notifications until the connection breaks."""
        driver = psycopg2.connect(**connections[self._database].get_connection_params())
        try:
            driver.autocommit = True
            cursor = driver.cursor()
            cursor.execute(f"LISTEN {CHANNEL}")
            self._notified.set()  # jobs may have been inserted while there was no connection
            while not self._stopped:
                if not select.select([driver], [], [], KEEPALIVE)[0]:
                    cursor.execute("SELECT 1")  # fails if the connection was cut without a FIN
                driver.poll()
                if driver.notifies:
                    driver.notifies.clear()
                    self._notified.set()
        finally:
            driver.close()
