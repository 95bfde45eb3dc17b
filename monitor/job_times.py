"""How long a job has waited and run: two figures, because long waits and long runs have different remedies."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jobs.models.states import Status


@dataclass(frozen=True)
class Times:
    """Of the latest attempt, in seconds. None: the attempt did not get that far."""

    wait: float | None
    run: float | None


def times(job: Any, now: datetime) -> Times:
    """wait: since the job was due. Both are None for a job that is not due yet or was cancelled while it waited."""
    match job.status:
        case Status.SCHEDULED | Status.RETRYING:
            return Times(None, None)
        case Status.QUEUED:
            return Times(_seconds(job.run_at, now), None)
        case Status.RUNNING:
            return Times(_seconds(job.run_at, job.started_at), _seconds(job.started_at, now))
    if job.started_at is None or (job.status == Status.CANCELLED and job.run_at > job.started_at):
        return Times(None, None)
    return Times(_seconds(job.run_at, job.started_at), _seconds(job.started_at, job.finished_at))


def _seconds(first: datetime, last: datetime) -> float:
    return max((last - first).total_seconds(), 0.0)
