"""Counts jobs and messages by day for the kind report.activity (kinds.py), with one query for each figure."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.db.models.functions import TruncDate

from jobs.models import Job
from mail.models import Message, MessageFigure

JOBS = ("created", "succeeded", "failed", "cancelled")
MAIL = (
    *("created", "sent", "delivered", "bounced", "complained"),
    *("rejected", "suppressed", "failed", "expired", "cancelled"),
)
COLUMNS = ("day", *(f"jobs_{name}" for name in JOBS), *(f"mail_{name}" for name in MAIL))
"""Each job and message counts once among the final statuses, on the day when it finished. A message that was delivered
and then complained about counts as complained."""

Counts = Counter[tuple[date, str]]
"""By day and column."""


@dataclass(frozen=True, slots=True)
class Span:
    """Whole days in UTC, including the last one."""

    first: date
    last: date

    def __iter__(self) -> Iterator[date]:
        return (self.first + timedelta(days=number) for number in range((self.last - self.first).days + 1))

    @property
    def moments(self) -> tuple[datetime, datetime]:
        """The first and the last moment."""
        return datetime.combine(self.first, time.min, UTC), datetime.combine(self.last, time.max, UTC)


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure counted by the day of one of the model's times. name: its column; if empty, each status has a column."""

    what: str
    model: type[Job] | type[Message]
    moment: str
    name: str = ""

    def counted(self, span: Span, owner: dict[str, int]) -> Counts:
        """owner: {"user": id}, or {} for all users."""
        rows: QuerySet[Any] = self.model.objects.filter(**owner, **{f"{self.moment}__range": span.moments})
        by_day = rows.order_by().annotate(day=TruncDate(self.moment, tzinfo=UTC)).values("day", "status")
        counts: Counts = Counter()
        for row in by_day.annotate(number=Count("pk")).iterator():
            counts[row["day"], f"{self.what}_{self.name or row['status']}"] += row["number"]
        return counts


FIGURES = (
    Figure("jobs", Job, "created_at", "created"),
    Figure("jobs", Job, "finished_at"),
    Figure("mail", Message, "created_at", "created"),
    Figure("mail", Message, "sent_at", "sent"),
    Figure("mail", Message, "finished_at"),
)


def deleted_message_counts(span: Span, owner: dict[str, int]) -> Counts:
    """Counts that were kept of messages since deleted. owner: as in Figure.counted()."""
    found = MessageFigure.objects.filter(**owner, day__range=(span.first, span.last)).order_by()
    counts: Counts = Counter()
    for day, name, number in found.values_list("day", "name", "number").iterator():
        counts[day, f"mail_{name}"] += number
    return counts


def rows(span: Span, counts: Counts) -> Iterator[list[object]]:
    """A row for each day, including days without any activity."""
    for day in span:
        yield [day.isoformat(), *(counts[day, column] for column in COLUMNS[1:])]
