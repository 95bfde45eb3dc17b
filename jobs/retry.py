"""When a failed attempt runs again: values in, a time out."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from jobs.errors import PermanentError, RetryAfter


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
        doublings = min(attempt - 1, 64)
        return min(self.cap, self.base * self.factor**doublings)


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
    wait = error.seconds if isinstance(error, RetryAfter) else jitter() * policy.longest_wait(attempt)
    return now + timedelta(seconds=max(wait, 0.0))
