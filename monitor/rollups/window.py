"""Counts time window by window: each exactly once, by one dispatcher, and never across the end of a minute."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.utils import timezone

from jobs.models.queue.clock import database_now
from monitor.models import RollupPosition

DELAY = timedelta(seconds=5)
"""How far counting stays behind: rows get their times before their transactions commit and others can see them."""
FIRST_LOOK_BACK = timedelta(hours=24)
BUDGET = 1.0
"""Seconds for one round. After an outage the rest is counted in the next rounds."""

Count = Callable[[datetime, datetime], int]
"""Counts what happened from the first moment on and before the second; both are in the same minute."""
First = Callable[[datetime], datetime | None]
"""When the first thing happened from this moment on; None if nothing did."""


def advance(name: str, count: Count, first: First) -> int:
    """Count what has not been counted under this name; returns how much. 0 if another dispatcher is at it."""
    counted, end, stop_at = 0, database_now() - DELAY, time.monotonic() + BUDGET
    while time.monotonic() < stop_at:
        with transaction.atomic():
            position = _lock(name)
            if position is None:
                return counted
            since, until = position.until, end
            if until <= since:
                return counted
            began = time.monotonic()
            # Minutes in which nothing happened are skipped together.
            since = min(max(first(since) or until, since), until)
            until = min(until, since.replace(second=0, microsecond=0) + timedelta(minutes=1))
            counted += count(since, until) if since < until else 0
            position.until, position.ran_at, position.seconds = until, timezone.now(), time.monotonic() - began
            position.save()
    return counted


def _lock(name: str) -> RollupPosition | None:
    """The position, locked until the transaction ends; None if somebody else has it."""
    rows = RollupPosition.objects.all()
    if connection.features.has_select_for_update_skip_locked:
        rows = rows.select_for_update(skip_locked=True)
    if position := rows.filter(name=name).first():
        return position
    start = (database_now() - FIRST_LOOK_BACK).replace(second=0, microsecond=0)
    RollupPosition.objects.bulk_create([RollupPosition(name=name, until=start)], ignore_conflicts=True)
    return rows.filter(name=name).first()
