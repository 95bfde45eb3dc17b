"""Counts unfinished jobs by queue, kind and status: a sample every ten seconds, less often if it takes long."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.db import connection, transaction
from django.db.models import Count, Min, Q
from django.utils import timezone

from jobs.models import Job
from jobs.models.queue.due import BY_PRIORITY
from jobs.models.states import UPCOMING, Status
from monitor.models import QueueDepth

SHARE = 0.01
"""The part of one dispatcher's time that counting may take."""

_not_before = 0.0


def sample_depth() -> int:
    """Store the numbers as those of this minute. Returns 0, so that it is not logged every few seconds."""
    global _not_before
    began = time.monotonic()
    if began < _not_before:
        return 0
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                # Statistics from a quiet hour would have it read the whole table instead of the partial indexes.
                cursor.execute("SET LOCAL enable_seqscan = off")
        counted = list(_counted())
    minute = timezone.now().replace(second=0, microsecond=0)
    with transaction.atomic():
        highest = _highest(minute, counted)
        QueueDepth.objects.filter(minute=minute).delete()
        rows = [QueueDepth(minute=minute, **row) for row in counted]
        rows += [QueueDepth(minute=minute, status=status, count=count) for status, count in highest.items()]
        QueueDepth.objects.bulk_create(rows, ignore_conflicts=True)
    _not_before = time.monotonic() + (time.monotonic() - began) / SHARE
    return 0


def _highest(minute: datetime, counted: list[dict[str, Any]]) -> dict[str, int]:
    """The most unfinished jobs in each status, of all samples of this minute.

    There is an entry without a status even if all queues are empty, so that a reader can tell that from a sample that
    was not taken.
    """
    now: Counter[str] = Counter({"": 0})
    for row in counted:
        now[row["status"]] += row["count"]
    before = dict(QueueDepth.objects.filter(minute=minute, kind="").values_list("status", "count"))
    return {status: max(now[status], before.get(status, 0)) for status in now.keys() | before.keys()}


def _counted() -> Iterator[dict[str, Any]]:
    """One query for each partial index."""
    for which in (BY_PRIORITY, Q(status=Status.RUNNING), Q(status__in=UPCOMING)):
        rows = Job.objects.filter(which)
        yield from rows.order_by().values("queue", "kind", "status").annotate(count=Count("pk"), oldest=Min("run_at"))
