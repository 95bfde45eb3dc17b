"""Known outages of what a process depends on: logged when one begins, once a minute, and when it ends.

Every failed try is counted, not logged: during an outage a process fails dozens of times a second.
"""

import os
import random
import threading
import time
from collections.abc import Callable

import psycopg2
import structlog
from django.db import DatabaseError, InterfaceError, OperationalError

log = structlog.get_logger(__name__)

REPORT_EVERY = 60.0
"""Seconds between two lines during an outage."""
SETTLE = 5.0
"""Seconds after an outage in which errors are not a new one: other threads notice only now that their connections were
cut."""
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 2.0
"""Seconds until the next try, at first and at most. A heartbeat must try again before leases are rescued."""
CAUSE_LIMIT = 300
"""Characters."""
AWAY = {"57P01", "57P02", "57P03", "57P05", "53300"}
"""SQLSTATEs: the server stops, has crashed, starts, has ended an idle session, or has no connection left."""

SDKS = {"redis", "botocore"}
"""Modules of errors. Not imported: few processes need them."""


class DatabaseAway(OperationalError):
    """The primary is known to be away, and was not asked."""


class Outage:
    """One per process and dependency; thread-safe. is_away: True for errors that mean that it cannot be reached."""

    def __init__(self, dependency: str, is_away: Callable[[BaseException], bool]) -> None:
        self.dependency = dependency
        self._is_away = is_away
        self._lock = threading.Lock()
        self._began_at: float | None = None
        self._ended_at = float("-inf")
        self._report_at = 0.0
        self._errors = 0

    def note(self, error: BaseException) -> bool:
        """Count an error of an outage. False, without a line, for any other error, which the caller logs."""
        if not self._is_away(error):
            return False
        now = time.monotonic()
        with self._lock:
            self._errors += 1
            begins = self._began_at is None and now - self._ended_at >= SETTLE
            goes_on = self._began_at is not None and now >= self._report_at
            if begins:
                self._began_at, self._errors = now, 1
            if begins or goes_on:
                self._report_at = now + REPORT_EVERY
            seconds, errors = round(now - (self._began_at or now), 1), self._errors
        if begins:
            log.error("outage_began", dependency=self.dependency, process=os.getpid(), cause=_cause(error))
        elif goes_on:
            self._log("outage_goes_on", seconds, errors)
        return True

    def end(self) -> None:
        """It was reached. Cheap if it was not away."""
        if self._began_at is None:
            return
        with self._lock:
            began_at, self._began_at = self._began_at, None
            self._ended_at = time.monotonic()
        if began_at is not None:
            seconds = round(self._ended_at - began_at, 1)
            self._log("outage_ended", seconds, self._errors)

    def pause(self) -> float:
        """Seconds until the next try: as long as the outage has lasted, within limits and with jitter. 0: no outage."""
        began_at = self._began_at
        if began_at is None:
            return 0.0
        longest = min(max(time.monotonic() - began_at, FIRST_PAUSE), LONGEST_PAUSE)
        return random.uniform(longest / 2, longest)  # noqa: S311 not a secret

    def forget(self) -> None:
        """As if it had never been away (tests)."""
        self._began_at, self._ended_at, self._errors = None, float("-inf"), 0

    def _log(self, event: str, seconds: float, errors: int) -> None:
        log.warning(event, dependency=self.dependency, process=os.getpid(), seconds=seconds, errors=errors)


def note(error: BaseException, *more: Outage) -> bool:
    """Outage.note() of the database, and of these."""
    return any(each.note(error) for each in (database, *more))


def is_database_away(error: BaseException) -> bool:
    """True if PostgreSQL cannot be reached; False for what it has answered, such as a lock that another one holds."""
    if isinstance(error, DatabaseAway):
        return True
    cause = error.__cause__ if isinstance(error, DatabaseError | InterfaceError) else error
    if isinstance(cause, psycopg2.InterfaceError):
        return "connection" in str(cause)
    # A DatabaseError itself, without a code: libpq has no message, because the connection was cut.
    if not isinstance(cause, psycopg2.DatabaseError):
        return False
    if not isinstance(cause, psycopg2.OperationalError) and type(cause) is not psycopg2.DatabaseError:
        return False
    return cause.pgcode is None or cause.pgcode in AWAY or cause.pgcode.startswith("08")


def is_service_away(error: BaseException) -> bool:
    """True for errors of Redis and SQS, and of the network."""
    return isinstance(error, OSError) or type(error).__module__.partition(".")[0] in SDKS


def _cause(error: BaseException) -> str:
    """In one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:CAUSE_LIMIT]


database = Outage("database", is_database_away)
broker = Outage("broker", is_service_away)
cache = Outage("cache", is_service_away)
