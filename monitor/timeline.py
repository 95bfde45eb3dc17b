"""A job's life as bars for a picture: waiting, each attempt, and pauses between attempts."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils.dateparse import parse_datetime

from jobs.models.attempt_errors import AttemptError
from jobs.models.states import TERMINAL, Status

WIDTH = 1000
"""Units of the picture."""
NARROWEST = 6


@dataclass(frozen=True)
class Bar:
    """kind: wait, failed, running, succeeded, cancelled or ended. x, width: in units of WIDTH. until: when it ends."""

    kind: str
    label: str
    since: datetime
    until: datetime
    x: int = 0
    width: int = 0

    @property
    def seconds(self) -> float:
        return (self.until - self.since).total_seconds()


def timeline(job: Any, now: datetime) -> list[Bar]:
    """Oldest first. A failed attempt whose start is not known, as in rows of older releases, is drawn from the end of
    the one before it."""
    bars, at = [], job.created_at
    for error in job.errors:
        ended = parse_datetime(error["at"])
        if ended is None:
            continue
        started = _start(error, job)
        if started and started > at:
            bars.append(Bar("wait", "waited", at, started))
            at = started
        bars.append(Bar("failed", f"attempt {error['attempt']}: {error['type']}", at, max(ended, at)))
        at = max(ended, at)
    failed = {error["attempt"] for error in job.errors}
    if job.started_at is not None and job.attempt not in failed and job.started_at >= at:
        bars.append(Bar("wait", "waited", at, job.started_at))
        end = job.finished_at or now
        kind = job.status if job.status in TERMINAL or job.status == Status.RUNNING else "ended"
        bars.append(Bar(kind, f"attempt {job.attempt}: {job.status}", job.started_at, max(end, job.started_at)))
        at = max(end, job.started_at)
    if job.status not in TERMINAL and job.status != Status.RUNNING:
        bars.append(Bar("wait", "waits" if job.run_at <= now else "not due yet", at, max(now, at)))
    elif not bars and job.finished_at:
        bars.append(Bar(job.status, job.status, job.created_at, job.finished_at))
    return _placed([bar for bar in bars if bar.seconds > 0 or bar.kind != "wait"])


def _start(error: AttemptError, job: Any) -> datetime | None:
    if stored := error.get("started_at"):
        return parse_datetime(stored)
    return job.started_at if error["attempt"] == job.attempt else None


def _placed(bars: list[Bar]) -> list[Bar]:
    """With positions in proportion to their durations, but none too narrow to be seen or pointed at."""
    total = sum(bar.seconds for bar in bars) or 1.0
    room = WIDTH - NARROWEST * len(bars)
    placed, x = [], 0
    for bar in bars:
        width = NARROWEST + int(max(room, 0) * bar.seconds / total)
        placed.append(Bar(bar.kind, bar.label, bar.since, bar.until, x, width))
        x += width
    return placed
