"""How many jobs are unfinished now: counted by partial indexes, up to a limit."""

from dataclasses import dataclass

from django.db import connection
from django.db.models import Q

from jobs.models import Job
from jobs.models.queue.due import BY_PRIORITY, condition_sql
from jobs.models.states import UPCOMING, Status

UP_TO = 10_000
"""More are not counted for a page: a million queued jobs would take a second."""
WHERE = {
    "scheduled": Q(status__in=UPCOMING) & Q(status=Status.SCHEDULED),
    "queued": BY_PRIORITY,
    "running": Q(status=Status.RUNNING),
    "retrying": Q(status__in=UPCOMING) & Q(status=Status.RETRYING),
}
"""By status, the condition that is true for it and names a partial index (Job.Meta)."""


@dataclass(frozen=True)
class Count:
    """exact: False if there may be more."""

    number: int
    exact: bool

    def __str__(self) -> str:
        return f"{self.number:,}" if self.exact else f"{self.number:,}+"


COUNT = "(SELECT count(*) FROM (SELECT 1 FROM jobs_job WHERE {} LIMIT %s) AS found)"


def unfinished_counts() -> dict[str, Count]:
    """By status; one statement."""
    columns = [COUNT.format(condition_sql(Job, condition)) for condition in WHERE.values()]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(columns)}", [UP_TO + 1] * len(columns))
        numbers = cursor.fetchone()
    return {status: Count(min(n, UP_TO), n <= UP_TO) for status, n in zip(WHERE, numbers, strict=True)}
