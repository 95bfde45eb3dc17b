"""Puts each failed job into the group of its error."""

from collections import Counter as Numbers
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import F, Func, JSONField

from jobs.models import Counter
from monitor.fingerprint import fingerprint, place_of
from monitor.models import ErrorGroup, ErrorHour, FailedJob

BATCH = 500
FAILURES = "job_failures"
"""The name of the counters of failed jobs, by kind and exception: groups are deleted once they are old."""
UNKNOWN = {"type": "unknown", "message": "", "traceback": ""}


class LastError(Func):
    """The last of a job's errors: a job may have a hundred, each with its traceback."""

    def __init__(self) -> None:
        super().__init__(F("errors"), output_field=JSONField())

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(%(expressions)s -> -1)", **context)

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="json_extract(%(expressions)s, '$[#-1]')", **context)


def group(failed: Any) -> None:
    """failed: jobs that are in no group yet, or failed again."""
    rows = failed.order_by().annotate(last=LastError()).values_list("pk", "kind", "finished_at", "last")
    for batch in _batches(rows.iterator(BATCH)):
        _group_batch(batch)


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for row in rows:
        batch.append(row)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _group_batch(rows: list[tuple[UUID, str, Any, Any]]) -> None:
    """Counts are added up in Python: the roll-up's position is locked, so no other dispatcher changes them."""
    found: dict[str, ErrorGroup] = {}
    hours: Numbers[tuple[str, datetime]] = Numbers()
    failures: Numbers[tuple[str, str]] = Numbers()
    members = []
    for pk, kind, at, error in rows:
        error = error or UNKNOWN
        place, message = place_of(error["traceback"]), str(error["message"])[:500]
        mark = fingerprint(kind, error["type"], place)
        members.append(FailedJob(job_id=pk, group_id=mark, message=message, at=at))
        failures[kind, error["type"][:50]] += 1
        hours[mark, at.replace(minute=0, second=0, microsecond=0)] += 1
        new = {"fingerprint": mark, "kind": kind, "type": error["type"][:200], "place": place}
        same = found.setdefault(mark, ErrorGroup(**new, first_seen_at=at, last_seen_at=at, release=settings.RELEASE))
        same.count += 1
        same.first_seen_at = min(same.first_seen_at, at)
        if at >= same.last_seen_at:
            same.last_seen_at, same.message, same.example = at, message, pk
    _add_groups(found)
    _add_hours(hours)
    _add_failures(failures)
    FailedJob.objects.bulk_create(
        members, update_conflicts=True, unique_fields=["job_id"], update_fields=["group", "message", "at"]
    )


def _add_groups(found: dict[str, ErrorGroup]) -> None:
    counts = ErrorGroup.objects.filter(pk__in=found).order_by().values_list("pk", "count")
    for mark, count in counts:
        found[mark].count += count
    ErrorGroup.objects.bulk_create(
        found.values(),
        update_conflicts=True,
        unique_fields=["fingerprint"],
        update_fields=["count", "message", "example", "last_seen_at"],
    )


def _add_hours(numbers: Numbers[tuple[str, datetime]]) -> None:
    marks, hours = {mark for mark, _ in numbers}, {hour for _, hour in numbers}
    counts = ErrorHour.objects.filter(group__in=marks, hour__in=hours).values_list("group", "hour", "count")
    old = {(mark, hour): count for mark, hour, count in counts}
    ErrorHour.objects.bulk_create(
        [
            ErrorHour(group_id=mark, hour=hour, count=number + old.get((mark, hour), 0))
            for (mark, hour), number in numbers.items()
        ],
        update_conflicts=True,
        unique_fields=["group", "hour"],
        update_fields=["count"],
    )


def _add_failures(numbers: Numbers[tuple[str, str]]) -> None:
    old = Counter.objects.totals(FAILURES)
    Counter.objects.bulk_create(
        [
            Counter(name=FAILURES, subject=kind, outcome=error, count=number + old.get((kind, error), 0))
            for (kind, error), number in numbers.items()
        ],
        update_conflicts=True,
        unique_fields=["name", "subject", "outcome"],
        update_fields=["count"],
    )
