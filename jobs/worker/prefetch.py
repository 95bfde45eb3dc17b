"""How many jobs a worker claims at once: learnt from how long each kind has taken it."""

SHORT = 0.02
"""Seconds: a kind whose jobs take less on average may be claimed ahead; any other is claimed when it can start."""
AHEAD = 0.1
"""Seconds of work that may be claimed ahead."""
MOST = 100
"""Jobs that may be claimed at once."""
WEIGHT = 0.2
"""Of the newest measurement in the moving average."""


class Prefetch:
    """A worker's measurements of each kind; a kind without one counts as long."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def measured(self, kind: str, seconds: float) -> None:
        """A job of this kind took so long."""
        known = self._seconds.get(kind, seconds)
        # One long job makes its kind long at once; it takes several short ones to make it short again.
        self._seconds[kind] = max(seconds, SHORT) if seconds >= SHORT else known + WEIGHT * (seconds - known)

    def can_batch(self, kind: str, run_alone: bool) -> bool:
        """True if such a job may be claimed with others. run_alone: its budget allows no other lost attempt."""
        return not run_alone and self._seconds.get(kind, SHORT) < SHORT

    @property
    def limit(self) -> int:
        """How many jobs to claim: as many of the slowest short kind as fit into AHEAD, and one at least."""
        short = [seconds for seconds in self._seconds.values() if seconds < SHORT]
        return min(MOST, int(AHEAD / max(*short, AHEAD / MOST))) if short else 1
