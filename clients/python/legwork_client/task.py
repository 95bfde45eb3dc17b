"""One leased job as its handler sees it, and what a handler raises to say how it ends."""

import threading
from typing import Any, Literal

from legwork_client.errors import LegworkError
from legwork_client.types import Job, Lease

Reason = Literal["cancelled", "lost", "stopping"]
"""Why a handler has to stop: somebody cancelled the job, the lease is lost, or the worker itself stops."""


class PermanentFailure(Exception):
    """Raised by a handler: the job fails, without further attempts. Any other exception is retried."""


class RetryLater(Exception):
    """Raised by a handler: try again in so many seconds."""

    def __init__(self, seconds: float, message: str = "") -> None:
        super().__init__(message or f"to be tried again in {seconds:g} s")
        self.seconds = seconds


class TaskStopped(LegworkError):
    """Raised in a handler by progress() and check() when it has to stop."""


class Task:
    """job: as it was leased. Thread-safe."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.job: Job = lease["job"]
        self.stop_reason: Reason | None = None
        self._progress: dict[str, Any] = {}
        self._stopped = threading.Event()

    @property
    def attempt(self) -> int:
        """1 for the first."""
        return self.job["attempt"]

    def progress(self, percent: float, message: str = "") -> None:
        """Report progress with the next heartbeat: 0 to 100, and at most 200 characters. Raises TaskStopped."""
        self._progress = {"percent": min(max(percent, 0.0), 100.0), "message": message[:200]}
        self.check()

    def check(self) -> None:
        """Raises TaskStopped if the handler has to stop."""
        if self.stop_reason:
            raise TaskStopped(self.stop_reason)

    def sleep(self, seconds: float) -> None:
        """For handlers that run in a thread. Raises TaskStopped as soon as the handler has to stop."""
        self._stopped.wait(seconds)
        self.check()

    def stop(self, reason: Reason) -> None:
        """Called by the worker."""
        self.stop_reason = self.stop_reason or reason
        self._stopped.set()

    def take_progress(self) -> dict[str, Any]:
        """Called by the worker's heartbeat: what was reported since the last one."""
        progress, self._progress = self._progress, {}
        return progress
