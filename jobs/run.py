"""Run: what a handler sees of the attempt it is working for."""

import math
import time
from uuid import UUID

from jobs.errors import PermanentError
from jobs.json_value import plain_text
from jobs.models import Job

SHOWN_EVERY = 0.25
"""Seconds between two writes of progress; what comes faster is shown with the next write or heartbeat."""


class Run:
    """One attempt at a job. job_id: the job's UUID. attempt: 1 for the first."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._shown_at = -math.inf

    @property
    def job_id(self) -> UUID:
        return self._job.pk

    @property
    def attempt(self) -> int:
        return self._job.attempt

    def progress(self, percent: float, message: str = "") -> None:
        """Show how far the work has come: percent from 0 to 100, message at most 200 characters."""
        if not math.isfinite(percent):
            raise PermanentError(f"{percent} is not a percentage")
        percent = round(min(max(percent, 0), 100), 1)
        self._job.progress = {"percent": percent, "message": plain_text(message)[:200]}
        if time.monotonic() - self._shown_at >= SHOWN_EVERY:
            self._job.report_progress()
            self._shown_at = time.monotonic()
