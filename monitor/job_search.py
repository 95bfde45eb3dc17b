"""Finds jobs in bounded time, newest first: where no index helps, STEP jobs at a time, until the time is up."""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from jobs.models import Job
from monitor.job_filter import JobFilter

STEP = 200_000
"""Jobs that one statement looks at."""
BUDGET = 0.25
"""Seconds after which a search stops and says how far it came."""
COUNT_UP_TO = 10_000
LARGE = ("errors", "result", "params")
"""Columns that a list does not show."""


@dataclass(frozen=True)
class Found:
    """jobs: newest first. older: the id below which the next page begins; None if there is none.

    searched_back_to: set if time was up before the page was full: no older job was looked at.
    """

    jobs: list[Any]
    older: UUID | None
    searched_back_to: datetime | None


def newest(wanted: JobFilter, limit: int, below: UUID | None = None, budget: float = BUDGET) -> Found:
    """Up to `limit` jobs that match. below: only jobs older than this one."""
    rows = wanted.rows().select_related("user").defer(*LARGE)
    if wanted.is_indexed:
        jobs = list(_below(rows, below)[: limit + 1])
        return Found(jobs[:limit], jobs[limit - 1].pk if len(jobs) > limit else None, None)
    jobs, until = [], time.monotonic() + budget
    while len(jobs) <= limit:
        last = _id_after(below)
        part = _below(rows, below).filter(pk__gte=last) if last else _below(rows, below)
        jobs += part[: limit + 1 - len(jobs)]
        if last is None:
            break
        below = last
        if time.monotonic() >= until and len(jobs) <= limit:
            return Found(jobs, last, _created_at(last))
    return Found(jobs[:limit], jobs[limit - 1].pk if len(jobs) > limit else None, None)


def count(wanted: JobFilter, budget: float = BUDGET) -> tuple[int, bool]:
    """How many match, and whether that is all: at most COUNT_UP_TO are counted, within `budget` seconds."""
    if wanted.is_indexed:
        number = wanted.rows().order_by().values("pk")[: COUNT_UP_TO + 1].count()
        return min(number, COUNT_UP_TO), number <= COUNT_UP_TO
    number, below, until = 0, None, time.monotonic() + budget
    while number <= COUNT_UP_TO:
        last = _id_after(below)
        part = _below(wanted.rows(), below).filter(pk__gte=last) if last else _below(wanted.rows(), below)
        number += part.order_by().values("pk")[: COUNT_UP_TO + 1 - number].count()
        if last is None:
            return min(number, COUNT_UP_TO), number <= COUNT_UP_TO
        below = last
        if time.monotonic() >= until:
            break
    return min(number, COUNT_UP_TO), False


def _below(rows: "QuerySet[Any]", pk: UUID | None) -> Any:
    return rows if pk is None else rows.filter(pk__lt=pk)


def _id_after(pk: UUID | None) -> UUID | None:
    """The id STEP jobs further back; None if there are fewer. Reads nothing but the primary key's index."""
    ids = _below(Job.objects.order_by("-id"), pk).values_list("pk", flat=True)
    return next(iter(ids[STEP - 1 : STEP]), None)


def _created_at(pk: UUID) -> datetime | None:
    return Job.objects.filter(pk=pk).values_list("created_at", flat=True).first()
