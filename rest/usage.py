"""How much of a bounded thing each user has, counted by the database now and then and by this process in between.

Counting at every request would cost more than what is counted. A bound is kept to within what other processes have
accepted since the last count, a second or so.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

import structlog
from django.db import connections
from rest_framework.exceptions import APIException

from rest import outage

log = structlog.get_logger(__name__)

Count = Callable[[], Mapping[int | None, int]]
"""Counts in the database, by user id; None: what belongs to the project itself."""

MIN_AGE = 0.1
"""Seconds. A count is not repeated sooner, even to spare a user a refusal."""
MAX_AGE = 1.0
"""Seconds after which the next request repeats a count, if SHARE allows it."""
SHARE = 20.0
"""A count is not repeated before this many times its own duration: counting takes at most 5 % of a process's time."""
WAIT_AFTER = 10.0
"""Seconds after which a request waits for a new count. Before, a thread of its own counts, and requests go by the
latest count meanwhile: with 350,000 waiting jobs counting takes 0.2 s."""
RETRY_AFTER = 5
"""Seconds."""


class QuotaExceeded(APIException):
    """429: the user has as many of something as a setting allows."""

    status_code = 429
    default_code = "quota_exceeded"

    def __init__(self, what: str, bound: int) -> None:
        super().__init__(f"You may have {bound} {what} at a time, and this request would exceed it.")
        self.wait = RETRY_AFTER


class Full(APIException):
    """503: all users together have as much as the service takes."""

    status_code = 503
    default_code = "queue_full"

    def __init__(self, what: str) -> None:
        super().__init__(f"The service has as many {what} as it takes; try again later.")
        self.wait = RETRY_AFTER


class Usage:
    """What users have of one thing. Thread-safe.

    what: its name in sentences. bound, total_bound: of one user, and of all; read at each check, as settings are.
    """

    def __init__(self, what: str, count: Count, bound: Callable[[], int], total_bound: Callable[[], int]) -> None:
        self.what = what
        self.bound = bound
        self.total_bound = total_bound
        self._count = count
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._by_user: Counter[int | None] = Counter()
        self._total = 0
        self._counted_at = float("-inf")
        self._took = 0.0

    def take(self, user_id: int | None, adding: int = 1) -> None:
        """Note that the user is about to get so many more. Raises QuotaExceeded, Full. Counts if the count is old."""
        self._refresh()
        if not self.has_room(user_id, adding) and self._age() > max(MIN_AGE, self._took * SHARE):
            self.count()
        with self._lock:
            if self._by_user[user_id] + adding > self.bound():
                raise QuotaExceeded(self.what, self.bound())
            if self._total + adding > self.total_bound():
                raise Full(self.what)
            self._by_user[user_id] += adding
            self._total += adding

    def has_room(self, user_id: int | None, adding: int = 1) -> bool:
        with self._lock:
            return self._by_user[user_id] + adding <= self.bound() and self._total + adding <= self.total_bound()

    def used_by(self, user_id: int | None) -> int:
        """As of the latest count; counts if that is old."""
        self._refresh()
        with self._lock:
            return self._by_user[user_id]

    def is_stale(self) -> bool:
        return self._age() > max(MAX_AGE, self._took * SHARE)

    def count(self) -> None:
        """Count in the database. If another thread is counting, its result will do, unless there is none yet."""
        if not self._counting.acquire(blocking=self._counted_at == float("-inf")):
            return
        try:
            started = time.monotonic()
            found = self._count()
            with self._lock:
                self._by_user, self._total = Counter(found), sum(found.values())
                self._counted_at = time.monotonic()
                self._took = self._counted_at - started
        finally:
            self._counting.release()

    def forget(self) -> None:
        """Count anew at the next use (tests)."""
        self._counted_at, self._took = float("-inf"), 0.0

    def _refresh(self) -> None:
        """Count if the count is old; the caller waits if it is very old."""
        if not self.is_stale():
            return
        if self._age() > WAIT_AFTER:
            self.count()
        elif not self._counting.locked():
            threading.Thread(target=self._count_beside_requests, name=f"count of {self.what}", daemon=True).start()

    def _count_beside_requests(self) -> None:
        try:
            self.count()
        except Exception as error:  # the next request that finds the count old tries again
            if not outage.database.note(error):
                log.warning("usage_not_counted", what=self.what, exc_info=True)
        finally:
            connections.close_all()

    def _age(self) -> float:
        return time.monotonic() - self._counted_at
