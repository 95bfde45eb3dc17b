"""Retry policy: decides when a failed attempt runs again. Pure functions."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobs.errors import PermanentError, Postponed, RetryAfter

DEFAULT_ATTEMPTS = 3
MAX_WAIT = 10 * 365 * 24 * 3600.0
"""Ten years in seconds: the longest wait that RetryAfter can ask for."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with full jitter: a uniform wait between 0 and min(cap, base * factor ** (attempt - 1)).

    attempts: the maximum; None means unlimited. base, cap: seconds.
    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    attempts: int | None = DEFAULT_ATTEMPTS
    base: float = 5.0
    factor: float = 2.0
    cap: float = 3600.0

    def longest_wait(self, attempt: int) -> float:
        """Upper bound in seconds of the wait after this attempt (the first is 1)."""
        try:
            return min(self.cap, self.base * float(self.factor) ** (attempt - 1))
        except OverflowError:
            return self.cap


def exponential(
    attempts: int | None = DEFAULT_ATTEMPTS, *, base: float = 5.0, factor: float = 2.0, cap: float = 3600.0
) -> Retry:
    """A retry policy for a @job line."""
    return Retry(attempts, base, factor, cap)


def next_run(
    policy: Retry,
    attempt: int,
    error: BaseException,
    now: datetime,
    jitter: Callable[[], float] = random.random,
) -> datetime | None:
    """When the next attempt is due; None if there is none. jitter: returns a random number in [0, 1)."""
    if isinstance(error, PermanentError):
        return None
    if policy.attempts is not None and attempt >= policy.attempts and not isinstance(error, Postponed):
        return None
    requested = _requested_wait(error) if isinstance(error, RetryAfter) else None
    return now + timedelta(seconds=jitter() * policy.longest_wait(attempt) if requested is None else requested)


def _requested_wait(error: RetryAfter) -> float | None:
    """In seconds; None if it is not a number: it may come from another server's Retry-After header."""
    try:
        seconds = float(error.seconds)
    except (TypeError, ValueError):
        return None
    return min(max(seconds, 0.0), MAX_WAIT) if seconds == seconds else None  # NaN is not equal to itself
