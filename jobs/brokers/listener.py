"""How an idle worker learns of new jobs: PostgreSQL tells it (NOTIFY, by a trigger on the table).

A connection and a thread of its own read the notifications whatever the worker does: unread ones would pile up, in this
process and then in the server, whose backend would wait for us with its snapshot held.
"""

import select
import threading
import time

import psycopg2
import structlog
from django.db import connections

log = structlog.get_logger(__name__)

CHANNEL = "legwork_jobs"
LOOK_AGAIN = 0.01
"""Seconds after a notification in which there is none for further jobs (5 ms, by the trigger, and as much to spare)."""
RECONNECT = 1.0
"""Seconds until a connection that was cut is made anew; workers poll meanwhile."""
CHECK = 10.0
"""Seconds without a notification after which the connection is tried."""


class Listener(threading.Thread):
    """wait() returns at once after a notification. One that is lost costs no more than the wait."""

    def __init__(self, database: str = "default") -> None:
        super().__init__(name="listener", daemon=True)
        self._database = database
        self._notified = threading.Event()
        self._look_again_at: float | None = None
        self._over = False

    def wait(self, seconds: float) -> None:
        """Until a job is inserted somewhere, or so many seconds have passed. The first call starts to listen."""
        if not self.ident:
            self.start()
        if self._notified.wait(self._until_next_look(seconds)):
            self._notified.clear()
            self._look_again_at = time.monotonic() + LOOK_AGAIN

    def stop(self) -> None:
        """Ends the thread within CHECK seconds, or at the next notification."""
        self._over = True

    def run(self) -> None:
        while not self._over:
            try:
                self._listen()
            except (psycopg2.Error, OSError):
                log.warning("listener_cut_off", exc_info=True)
                time.sleep(RECONNECT)

    def _until_next_look(self, seconds: float) -> float:
        """One wait after each notification is short, or over at once where that time has passed already."""
        if self._look_again_at is None:
            return seconds
        soon, self._look_again_at = self._look_again_at - time.monotonic(), None
        return min(max(soon, 0), seconds)

    def _listen(self) -> None:
        """Read notifications until the connection breaks."""
        driver = psycopg2.connect(**connections[self._database].get_connection_params())
        try:
            driver.autocommit = True
            cursor = driver.cursor()
            cursor.execute(f"LISTEN {CHANNEL}")
            self._notified.set()  # there may have been some before
            while not self._over:
                if not select.select([driver], [], [], CHECK)[0]:
                    cursor.execute("SELECT 1")  # a connection that was cut without a farewell fails here
                driver.poll()
                if driver.notifies:
                    driver.notifies.clear()
                    self._notified.set()
        finally:
            driver.close()
