"""Spares callers a broker that is away or silent: after a failure nobody asks it for a while, and then one does."""

from collections.abc import Callable
from time import monotonic
from typing import TypeVar

import structlog

Value = TypeVar("Value")

log = structlog.get_logger(__name__)

PAUSE = 5.0
"""Seconds for which a broker that has failed is left alone: jobs are found in their rows meanwhile."""


class Breaker:
    """One per broker and process; its threads share it without a lock, and the worst that costs is one try more."""

    def __init__(self) -> None:
        self._again_at: float | None = None

    def attempt(self, act: Callable[[], Value], otherwise: Value) -> Value:
        """What it returns, or `otherwise` when it fails or has failed a moment ago. Raises nothing: rows are stored."""
        if self._again_at is not None:
            if monotonic() < self._again_at:
                return otherwise
            # The others need not wait with the one that finds out whether it is back.
            self._again_at = monotonic() + PAUSE
        try:
            value = act()
        except Exception:
            log.warning("broker_unavailable", exc_info=True)
            self._again_at = monotonic() + PAUSE
            return otherwise
        self._again_at = None
        return value
