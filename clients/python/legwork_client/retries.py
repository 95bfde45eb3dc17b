"""When a request is sent again: after errors that may pass, as late as Retry-After says, with full jitter."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

TEMPORARY = frozenset({408, 429, 500, 502, 503, 504})
REFUSED_UNSEEN = frozenset({429, 503})
"""Statuses that say that nothing was done, so that any request may be sent again."""


@dataclass(frozen=True)
class Retries:
    """attempts: how often a request is sent at most. base, cap, longest: seconds; a longer Retry-After is given up."""

    attempts: int = 5
    base: float = 0.25
    cap: float = 10.0
    longest: float = 120.0

    def wait_after(
        self, attempt: int, retry_after: float | None = None, jitter: Callable[[], float] = random.random
    ) -> float | None:
        """Seconds until the next attempt; None if there is none. attempt: 1 for the first."""
        if attempt >= self.attempts or (retry_after or 0) > self.longest:
            return None
        return (retry_after or 0) + self.backoff(attempt, jitter)

    def backoff(self, failures: int, jitter: Callable[[], float] = random.random) -> float:
        """A random wait in seconds, at most base * 2 ** (failures - 1) and cap."""
        return jitter() * min(self.cap, self.base * 2.0 ** min(failures - 1, 30))


def retry_after(value: str | None, now: Callable[[], float] = time.time) -> float | None:
    """The header in seconds: it is a number of seconds or a date (RFC 9110, 10.2.3). None if it is neither."""
    if value is None:
        return None
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - now())
    except ValueError:
        return None
