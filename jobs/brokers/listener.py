"""Wakes an idle worker for new jobs on PostgreSQL: a trigger on the table sends NOTIFY, a separate connection LISTENs.

An idle worker waits for that connection itself, which wakes it soonest. While it works, a thread reads: unread
notifications would pile up in this process and then in the server, whose backend would block with its snapshot held.
"""

import select
import threading
import time
from contextlib import closing
from typing import Any

import psycopg2
import structlog
from django.db import connections

from rest import outage
from rest.pooler import find_pooler

log = structlog.get_logger(__name__)

CHANNEL = "legwork_jobs"
RECHECK_AFTER = 0.01
"""Seconds after a notification until a second check: for 5 ms the trigger sends no other one. The rest is margin."""
RECONNECT_AFTER = 1.0
"""Seconds until a broken connection is opened again. Workers poll meanwhile."""
READ_EVERY = 0.1
"""Seconds between two reads by the thread. The socket's buffer holds what arrives in between."""
KEEPALIVE = 10.0
"""Seconds between two queries that test the connection."""


class Listener(threading.Thread):
    """wait() returns at once after a notification. A lost notification costs no more than one full wait."""

    def __init__(self, database: str = "default") -> None:
        super().__init__(name="listener", daemon=True)
        self._database = database
        self._driver: Any = None
        """The driver's connection that LISTENs; None while there is none. Used and set only under the lock."""
        self._lock = threading.Lock()
        self._connected = threading.Condition(self._lock)
        self._notified = False
        """Whether a notification has come since the last wait."""
        self._recheck_at: float | None = None
        self._stopped = False

    def wait(self, seconds: float) -> None:
        """Return when a job is inserted in any queue, or after this many seconds. The first call starts the thread."""
        if not self.ident:
            self.start()
        timeout = self._timeout(seconds)
        if not self._lock.acquire(timeout=timeout):
            return  # the thread is testing the connection
        try:
            if self._driver is None:
                self._connected.wait(timeout)
            else:
                self._read(self._driver, timeout)
            if self._notified:
                self._notified = False
                self._recheck_at = time.monotonic() + RECHECK_AFTER
        except (psycopg2.Error, OSError):
            self._driver = None  # the thread gets the same error and reconnects
        finally:
            self._lock.release()

    def stop(self) -> None:
        """The thread ends at its next check."""
        self._stopped = True

    def run(self) -> None:
        while not self._stopped:
            try:
                self._listen()
            except (psycopg2.Error, OSError) as error:
                if not outage.database.note(error):
                    log.warning("listener_disconnected", retry_in=RECONNECT_AFTER, exc_info=True)
                time.sleep(max(RECONNECT_AFTER, outage.database.pause()))

    def _timeout(self, seconds: float) -> float:
        """The wait after a notification ends at the recheck, at once if that is already due."""
        if self._recheck_at is None:
            return seconds
        left, self._recheck_at = self._recheck_at - time.monotonic(), None
        return min(max(left, 0), seconds)

    def _listen(self) -> None:
        """Keep a connection, until it breaks."""
        with closing(psycopg2.connect(**connections[self._database].get_connection_params())) as driver:
            outage.database.end()
            driver.autocommit = True
            if find_pooler(connections[self._database].settings_dict, driver):
                return self.stop()  # the session that LISTENs would go to another client
            cursor = driver.cursor()
            cursor.execute(f"LISTEN {CHANNEL}")
            with self._connected:
                self._driver = driver
                self._notified = True  # jobs may have been inserted while there was no connection
                self._connected.notify()
            try:
                self._keep(driver, cursor)
            finally:
                with self._lock:
                    self._driver = None

    def _keep(self, driver: Any, cursor: Any) -> None:
        test_at = time.monotonic() + KEEPALIVE
        while not self._stopped:
            time.sleep(READ_EVERY)
            test = time.monotonic() >= test_at
            if self._lock.acquire(blocking=test):  # if it is taken, the worker is reading
                try:
                    if test:
                        cursor.execute("SELECT 1")  # fails if the connection was cut without a FIN
                        test_at = time.monotonic() + KEEPALIVE
                    self._read(driver, 0)
                finally:
                    self._lock.release()

    def _read(self, driver: Any, timeout: float) -> None:
        """Read all notifications; wait up to timeout seconds for the first."""
        while True:
            self._notified |= bool(driver.notifies)
            driver.notifies.clear()
            if not select.select([driver], [], [], 0 if self._notified else timeout)[0]:
                return
            driver.poll()
