"""Counts finished jobs by kind and status, with their waiting and run times, and groups the failures."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Case, Count, DurationField, ExpressionWrapper, F, Sum, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from jobs.models import Job
from jobs.models.states import Status
from monitor import histogram
from monitor.models import JobFigures
from monitor.models.figures import ALL_KINDS, EVER
from monitor.rollups import failures
from monitor.rollups.window import advance

COLUMNS = ("count", "attempts", "wait_seconds", "run_seconds", "wait_buckets", "run_buckets")
NEVER_STARTED = -1


def count_finished_jobs() -> int:
    return advance("jobs", _count, _first)


def _first(since: datetime) -> datetime | None:
    rows = Job.objects.filter(finished_at__gte=since).order_by("finished_at")
    return rows.values_list("finished_at", flat=True).first()


@dataclass
class Sums:
    count: int = 0
    attempts: int = 0
    wait_seconds: float = 0.0
    run_seconds: float = 0.0
    wait_buckets: list[int] = field(default_factory=histogram.empty)
    run_buckets: list[int] = field(default_factory=histogram.empty)

    def add(self, row: dict[str, Any]) -> None:
        """A group of jobs whose durations are in the same buckets."""
        self.count += row["count"]
        self.attempts += row["attempts"] or 0
        if row["wait_bucket"] == NEVER_STARTED:
            return
        self.wait_seconds += row["wait_sum"].total_seconds()
        self.run_seconds += row["run_sum"].total_seconds()
        self.wait_buckets[row["wait_bucket"]] += row["count"]
        self.run_buckets[row["run_bucket"]] += row["count"]


def _count(since: datetime, until: datetime) -> int:
    finished = Job.objects.filter(finished_at__gte=since, finished_at__lt=until)
    sums: dict[tuple[str, str], Sums] = defaultdict(Sums)
    for row in _groups(finished):
        sums[row["kind"], row["status"]].add(row)
        sums[ALL_KINDS, row["status"]].add(row)
    if not sums:
        return 0
    minute = since.replace(second=0, microsecond=0)
    _store({(minute, *key): each for key, each in sums.items()} | {(EVER, *key): each for key, each in sums.items()})
    if (ALL_KINDS, Status.FAILED) in sums:
        failures.group(finished.filter(status=Status.FAILED))
    return sum(each.count for (kind, _), each in sums.items() if kind == ALL_KINDS)


def _groups(finished: Any) -> Any:
    wait, run = _difference("run_at", "started_at"), _difference("started_at", "finished_at")
    # Those since the last restart, which grants a budget beyond the attempts that were counted when the job failed. A
    # postponed attempt grants one more, and so is not counted either.
    attempts = F("attempt") - Coalesce(F("max_attempts") - F("budget"), 0)
    return (
        finished.order_by()
        .annotate(wait=wait, run=run)
        .annotate(wait_bucket=_bucket("wait"), run_bucket=_bucket("run"))
        .values("kind", "status", "wait_bucket", "run_bucket")
        .annotate(count=Count("pk"), attempts=Sum(attempts), wait_sum=Sum("wait"), run_sum=Sum("run"))
    )


def _difference(first: str, last: str) -> Combinable:
    return ExpressionWrapper(F(last) - F(first), output_field=DurationField())


def _bucket(name: str) -> Case:
    """histogram.bucket() in the database."""
    bounds = [
        When(**{f"{name}__lte": timedelta(seconds=bound)}, then=Value(position))
        for position, bound in enumerate(histogram.BOUNDS)
    ]
    return Case(When(started_at=None, then=Value(NEVER_STARTED)), *bounds, default=Value(len(histogram.BOUNDS)))


def _store(new: dict[tuple[datetime, str, str], Sums]) -> None:
    """Add to the rows of these minutes, kinds and statuses. Nobody else writes them: the position is locked."""
    minutes = {minute for minute, _, _ in new}
    old = {(row.minute, row.kind, row.status): row for row in JobFigures.objects.filter(minute__in=minutes)}
    rows = []
    for (minute, kind, status), sums in new.items():
        row = old.get((minute, kind, status)) or JobFigures(minute=minute, kind=kind, status=status)
        row.count += sums.count
        row.attempts += sums.attempts
        row.wait_seconds += sums.wait_seconds
        row.run_seconds += sums.run_seconds
        row.wait_buckets = histogram.add(row.wait_buckets, sums.wait_buckets)
        row.run_buckets = histogram.add(row.run_buckets, sums.run_buckets)
        row.pk = None
        rows.append(row)
    JobFigures.objects.bulk_create(
        rows, update_conflicts=True, unique_fields=["kind", "minute", "status"], update_fields=list(COLUMNS)
    )
