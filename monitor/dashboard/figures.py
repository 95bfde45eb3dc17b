"""The dashboard's numbers from roll-ups: cards, charts, and the table of kinds. No job is read for them."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Subquery, Sum
from django.utils import timezone

from jobs.models.states import Status
from monitor import histogram
from monitor.dashboard import charts
from monitor.dashboard.charts import Axis, Series
from monitor.models import JobFigures, MailFigures, QueueDepth, Release
from monitor.models.figures import ALL_KINDS

SPANS = {"hour": (timedelta(hours=1), timedelta(minutes=1)), "day": (timedelta(days=1), timedelta(minutes=15))}
"""How far a chart reaches back, and the length of the interval that one bar stands for."""
RECENT = timedelta(minutes=5)
OUTCOMES = (Status.SUCCEEDED, Status.FAILED, Status.CANCELLED)


@dataclass
class Sums:
    """Of one interval or kind."""

    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    waits: list[int] = field(default_factory=histogram.empty)
    runs: list[int] = field(default_factory=histogram.empty)
    wait_seconds: float = 0.0
    run_seconds: float = 0.0

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    @property
    def carried_out(self) -> int:
        """Without cancelled jobs: they say nothing about failures, and many would hide them."""
        return self.counts["succeeded"] + self.counts["failed"]

    @property
    def failure_rate(self) -> float | None:
        return self.counts["failed"] / self.carried_out if self.carried_out else None

    @property
    def wait_p50(self) -> float | None:
        return histogram.percentile(self.waits, 0.5)

    @property
    def wait_p95(self) -> float | None:
        return histogram.percentile(self.waits, 0.95)

    @property
    def run_p50(self) -> float | None:
        return histogram.percentile(self.runs, 0.5)

    @property
    def run_p95(self) -> float | None:
        return histogram.percentile(self.runs, 0.95)

    def add(self, row: Any) -> None:
        self.counts[row["status"]] += row["count"]
        self.waits = histogram.add(self.waits, row["wait_buckets"])
        self.runs = histogram.add(self.runs, row["run_buckets"])


@dataclass
class LastHour:
    """sums: of the hour. per_minute: finished in the last whole minutes, on average."""

    sums: Sums
    per_minute: float


def last_hour() -> LastHour:
    now, sums, recent = timezone.now(), Sums(), 0
    last = _minute(now)
    for row in _rows(now - timedelta(hours=1), kind=ALL_KINDS):
        sums.add(row)
        if last - RECENT <= row["minute"] < last:
            recent += row["count"]
    return LastHour(sums, recent / (RECENT / timedelta(minutes=1)))


def by_kind() -> list[tuple[str, Sums]]:
    """Of the last hour, busiest first."""
    sums: dict[str, Sums] = defaultdict(Sums)
    for row in _rows(timezone.now() - timedelta(hours=1)):
        if row["kind"] != ALL_KINDS:
            sums[row["kind"]].add(row)
    return sorted(sums.items(), key=lambda pair: -pair[1].count)


def latest_depth() -> list[dict[str, Any]]:
    """The last sample: rows by queue, kind and status; empty if none was taken in the last five minutes."""
    recent = QueueDepth.objects.filter(minute__gte=timezone.now() - timedelta(minutes=5))
    latest = recent.order_by("-minute").values("minute")[:1]
    rows = QueueDepth.objects.filter(minute=Subquery(latest)).exclude(kind="")
    columns: Any = rows.values("queue", "kind", "status", "count", "oldest")
    return list(columns)


def oldest_waiting(depth: Iterable[dict[str, Any]]) -> float | None:
    """Seconds that the longest waiting of the queued jobs has been due."""
    due = [row["oldest"] for row in depth if row["status"] == Status.QUEUED and row["oldest"]]
    return (timezone.now() - min(due)).total_seconds() if due else None


def job_charts(span: str) -> list[tuple[str, Any]]:
    """Titles and charts."""
    axis = _axis(span)
    sums = [Sums() for _ in axis.moments]
    for row in _rows(axis.moments[0], kind=ALL_KINDS):
        if (position := _position(axis, row["minute"])) is not None:
            sums[position].add(row)
    outcomes = [Series(status.value, status.value, [each.counts[status] for each in sums]) for status in OUTCOMES]
    waits = [
        Series("p95", "amber", [each.wait_p95 for each in sums]),
        Series("p50", "blue", [e.wait_p50 for e in sums]),
    ]
    runs = [Series("p95", "amber", [each.run_p95 for each in sums]), Series("p50", "blue", [e.run_p50 for e in sums])]
    return [
        ("Finished jobs", charts.bars("Finished jobs", axis, outcomes)),
        ("Unfinished jobs", charts.lines("Unfinished jobs", axis, _depth(axis), lambda number: f"{number:,.0f}")),
        ("Waiting time", charts.lines("Waiting time", axis, waits)),
        ("Run time", charts.lines("Run time", axis, runs)),
    ]


def mail_charts(span: str) -> list[tuple[str, Any]]:
    axis = _axis(span)
    found: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(axis.moments))
    rows = MailFigures.objects.filter(minute__gte=axis.moments[0]).order_by()
    for minute, outcome, number in rows.values_list("minute", "outcome").annotate(number=Sum("count")):
        if (position := _position(axis, minute)) is not None:
            found[outcome][position] += number
    if not found:
        return []
    funnel = [
        Series(name, colour, found[name])
        for name, colour in (("created", "cancelled"), ("attempted", "blue"), ("delivered", "succeeded"))
    ]
    bad = [
        Series(name, colour, found[name])
        for name, colour in (("bounced", "failed"), ("deferred", "amber"), ("complained", "violet"))
    ]
    return [
        ("Mail", charts.lines("Mail", axis, funnel, lambda number: f"{number:,.0f}")),
        ("Mail that did not arrive", charts.bars("Mail that did not arrive", axis, bad)),
    ]


@dataclass(frozen=True)
class MailRates:
    """Of the last day."""

    created: int
    delivered: int
    bounced: int
    complained: int

    @property
    def bounce_rate(self) -> float | None:
        settled = self.delivered + self.bounced
        return self.bounced / settled if settled else None

    @property
    def complaint_rate(self) -> float | None:
        return self.complained / self.delivered if self.delivered else None


def mail_rates() -> MailRates:
    rows = MailFigures.objects.filter(minute__gte=timezone.now() - timedelta(days=1)).order_by()
    found = dict(rows.values_list("outcome").annotate(number=Sum("count")))
    return MailRates(*(found.get(name, 0) for name in ("created", "delivered", "bounced", "complained")))


def _depth(axis: Axis) -> list[Series]:
    """The highest number of each interval: the last one would hide what came and went."""
    found: dict[str, list[float | None]] = {
        status: [None] * len(axis.moments) for status in ("queued", "running", "retrying", "scheduled")
    }
    rows = QueueDepth.objects.filter(minute__gte=axis.moments[0], kind="").order_by("minute")
    for minute, status, number in rows.values_list("minute", "status", "count"):
        position = _position(axis, minute)
        if position is None:
            continue
        if status in found:
            found[status][position] = max(float(number), found[status][position] or 0.0)
        for values in found.values():
            values[position] = values[position] or 0.0
    colours = {"queued": "blue", "running": "succeeded", "retrying": "amber", "scheduled": "violet"}
    return [Series(status, colours[status], values) for status, values in found.items()]


def _rows(since: datetime, **which: Any) -> Iterable[dict[str, Any]]:
    columns = ("minute", "kind", "status", "count", "wait_buckets", "run_buckets")
    rows: Any = JobFigures.objects.filter(minute__gte=since, **which).order_by().values(*columns)
    found: Iterable[dict[str, Any]] = rows
    return found


def _axis(span: str) -> Axis:
    length, step = SPANS[span]
    last = _minute(timezone.now())
    last -= timedelta(minutes=last.minute % (step.seconds // 60))
    count = length // step
    moments = [last - step * (count - 1 - i) for i in range(count)]
    releases = Release.objects.filter(first_seen_at__gte=moments[0]).values_list("name", "first_seen_at")
    return Axis(moments, step, list(releases))


def _position(axis: Axis, minute: datetime) -> int | None:
    position = int((minute - axis.moments[0]) / axis.step)
    return position if 0 <= position < len(axis.moments) else None


def _minute(moment: datetime) -> datetime:
    return moment.replace(second=0, microsecond=0)
