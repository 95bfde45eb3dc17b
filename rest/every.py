"""What happens every so many seconds: the clock of one such thing."""

import time


class Every:
    """Due at first, and again so many seconds after each restart(). Not due before that, however often it is asked."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._due_at = 0.0

    def is_due(self) -> bool:
        return time.monotonic() >= self._due_at

    def restart(self, seconds: float = 0.0) -> None:
        """Called when the thing has been done. seconds: the pause until the next time, if it is longer than usual."""
        self._due_at = time.monotonic() + max(self.seconds, seconds)
