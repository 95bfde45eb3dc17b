"""A circuit breaker around calls to a broker: after a failure nobody calls it for a while, then one caller tries."""

from collections.abc import Callable
from random import uniform
from time import monotonic
from typing import TypeVar

import structlog

from rest import outage

Value = TypeVar("Value")

log = structlog.get_logger(__name__)

OPEN_SECONDS = 5.0
"""How long a broker is not called after a failure. Jobs are found in their rows meanwhile."""
JITTER = 1.2
"""The longest pause, in pauses, so that many processes do not call at the same time."""


class CircuitBreaker:
    """One per broker and process. Threads share it without a lock: a race costs at most one extra call."""

    def __init__(self) -> None:
        self._retry_at: float | None = None

    def call(self, function: Callable[[], Value], fallback: Value) -> Value:
        """The function's result; the fallback if it raises, or if a call failed within OPEN_SECONDS. Raises nothing."""
        if self._retry_at is not None:
            if monotonic() < self._retry_at:
                return fallback
            # Half open: this caller tries, the others keep getting the fallback.
            self._retry_at = monotonic() + OPEN_SECONDS
        try:
            value = function()
        except Exception as error:
            pause = OPEN_SECONDS * uniform(1, JITTER)  # noqa: S311 not a secret
            if not outage.note(error, outage.broker):
                log.warning("broker_call_failed", retry_in=pause, exc_info=True)
            self._retry_at = monotonic() + pause
            return fallback
        self._retry_at = None
        outage.broker.end()
        return value
