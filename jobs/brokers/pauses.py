"""Which kinds are paused, as a worker knows it: read from the database at most once a second.

A pause of a queue counts as one of each of its kinds, so a claim's statement is the same with and without pauses.
"""

import time

from jobs.models import Pause
from jobs.models.statements import CompiledQuery
from jobs.registry import kinds

READ_EVERY = 1.0
"""Seconds for which a worker reuses what it has read, and so may still claim jobs that were just paused."""
NONE: frozenset[str] = frozenset()

_PAUSES = CompiledQuery(lambda: Pause.objects.order_by().values_list("scope", "name"))


class PausedKinds:
    """One per broker object, and so per worker process; used by its main thread only."""

    def __init__(self) -> None:
        self._kinds, self._read_at = NONE, 0.0

    def now(self) -> frozenset[str]:
        """The names of the paused kinds, not older than READ_EVERY. Raises the database's errors, as a claim does."""
        if time.monotonic() >= self._read_at:
            self._kinds = paused_kinds()
            self._read_at = time.monotonic() + READ_EVERY
        return self._kinds


def paused_kinds() -> frozenset[str]:
    """The kinds that are paused now, by themselves or with their queues."""
    pauses = set(_PAUSES.rows())
    if not pauses:
        return NONE
    return frozenset(
        kind.name
        for kind in kinds()
        if (Pause.Scope.KIND, kind.name) in pauses or (Pause.Scope.QUEUE, kind.queue) in pauses
    )
