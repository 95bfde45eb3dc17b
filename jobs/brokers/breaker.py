"""A circuit breaker around calls to a broker: after a failure nobody calls it for a while, then one caller tries."""

from collections.abc import Callable
from time import monotonic
from typing import TypeVar

import structlog

Value = TypeVar("Value")

log = structlog.get_logger(__name__)

OPEN_SECONDS = 5.0
"""How long a broker is not called after a failure. Jobs are found in their rows meanwhile."""


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
        except Exception:
            log.warning("broker_unavailable", retry_in=OPEN_SECONDS, exc_info=True)
            self._retry_at = monotonic() + OPEN_SECONDS
            return fallback
        self._retry_at = None
        return value
