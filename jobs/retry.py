"""When a failed attempt runs again: values in, a time out."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobs.errors import PermanentError, RetryAfter

LONGEST = 10 * 365 * 24 * 3600.0
"""Seconds: whoever asks for a longer wait than ten years gets these."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Exponential backoff with full jitter: a uniform wait between 0 and min(cap, base * factor ** (attempt - 1)).

    attempts: how often the job runs at most; None means without end. base, cap: seconds.
    Source: Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    attempts: int | None = 3
    base: float = 5.0
    factor: float = 2.0
    cap: float = 3600.0

    def longest_wait(self, attempt: int) -> float:
        """The upper bound in seconds of the wait after this attempt (the first is 1)."""
        try:
            return min(self.cap, self.base * float(self.factor) ** (attempt - 1))
        except OverflowError:
            return self.cap


def exponential(attempts: int | None = 3, *, base: float = 5.0, factor: float = 2.0, cap: float = 3600.0) -> Retry:
    """The retry policy of a kind, as it reads in its @job line."""
    return Retry(attempts, base, factor, cap)


def next_run(
    policy: Retry,
    attempt: int,
    error: BaseException,
    now: datetime,
    jitter: Callable[[], float] = random.random,
) -> datetime | None:
    """When the attempt after this failed one is due; None when the job is given up.

    jitter: a number in [0, 1), drawn afresh for each call.
    """
    if isinstance(error, PermanentError):
        return None
    if policy.attempts is not None and attempt >= policy.attempts:
        return None
    asked = _seconds(error) if isinstance(error, RetryAfter) else None
    return now + timedelta(seconds=jitter() * policy.longest_wait(attempt) if asked is None else asked)


def _seconds(error: RetryAfter) -> float | None:
    """What a handler asks for may come from somebody's Retry-After header: None when it is no number of seconds."""
    try:
        seconds = float(error.seconds)
    except (TypeError, ValueError):
        return None
    return min(max(seconds, 0.0), LONGEST) if seconds == seconds else None
