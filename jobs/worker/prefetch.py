"""How many jobs a worker claims ahead: learnt from the measured duration of each kind."""

import time

SHORT_SECONDS = 0.02
"""Kinds whose jobs take less on average may be claimed ahead; all others are claimed when they can start."""
PREFETCH_SECONDS = 0.1
"""Seconds of work that may be claimed ahead."""
MAX_PREFETCH = 250
"""Jobs that may be claimed at once."""
THREAD_PREFETCH_SECONDS = 0.05
"""Seconds for which a job may be claimed ahead of a free thread."""
WEIGHT = 0.2
"""Of the newest measurement in the moving average."""


class Prefetch:
    """One worker's average duration of each kind. A kind that was never measured counts as long."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def add_duration(self, kind: str, seconds: float) -> None:
        """Record how long a job of this kind took."""
        known = self._seconds.get(kind, seconds)
        # One long job makes its kind long at once; several short ones are needed to make it short again.
        self._seconds[kind] = seconds if seconds >= SHORT_SECONDS else known + WEIGHT * (seconds - known)

    @property
    def short(self) -> list[str]:
        """The kinds whose jobs may be claimed together."""
        return [kind for kind, seconds in self._seconds.items() if seconds < SHORT_SECONDS]

    @property
    def limit(self) -> int:
        """How many jobs to claim: as many of the slowest short kind as fit into PREFETCH_SECONDS, at least one."""
        short = [seconds for seconds in self._seconds.values() if seconds < SHORT_SECONDS]
        if not short:
            return 1
        return min(MAX_PREFETCH, int(PREFETCH_SECONDS / max(*short, PREFETCH_SECONDS / MAX_PREFETCH)))


class ThreadPrefetch:
    """How many jobs of each kind will probably find a free thread within THREAD_PREFETCH_SECONDS.

    A thread that has been busy for twice the usual time is not expected to be free soon: its call may hang.
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._running: dict[int, tuple[str, float]] = {}
        """By slot: the kind, and when its job began."""

    def begin(self, slot: int, kind: str) -> None:
        self._running[slot] = kind, time.monotonic()

    def end(self, slot: int) -> None:
        kind, began = self._running.pop(slot)
        seconds = time.monotonic() - began
        known = self._seconds.get(kind, seconds)
        self._seconds[kind] = known + WEIGHT * (seconds - known)

    def limit(self, kind: str) -> int:
        """0 until the first job has ended."""
        usual = self._seconds.get(kind)
        if not usual:
            return 0
        recently = time.monotonic() - 2 * usual
        running = sum(each == kind and began > recently for each, began in self._running.values())
        return int(running * min(1, THREAD_PREFETCH_SECONDS / usual))
