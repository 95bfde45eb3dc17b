"""How PostgreSQL executes what the engine asks all the time, whatever its statistics say."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from jobs.ids import new_id
from jobs.models import Job
from jobs.states import Status
from tests.make import make_job

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="They are PostgreSQL's plans.")

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


@pytest.mark.django_db
@pytest.mark.parametrize("statistics", ["none", "of an empty table", "fresh"])
@pytest.mark.parametrize("run_at", [timezone.now() + 365 * DAY, timezone.now() - SECOND], ids=["next year", "now"])
def test_no_look_for_what_is_due_scans_the_table_or_sorts_it(statistics: str, run_at: datetime) -> None:
    """Half of the jobs have finished, and half wait: the worst mixture, because few of all those before now are due."""
    if statistics == "of an empty table":
        analyze()
    make_many(4000)
    Job.objects.update(status=Status.CANCELLED, finished_at=timezone.now())
    make_many(4000, status=Status.SCHEDULED, run_at=timezone.now() + 365 * DAY)
    if statistics == "fresh":
        analyze()
    Job.objects.filter(status=Status.SCHEDULED).update(run_at=run_at)
    make_job(Status.SCHEDULED, run_at=timezone.now() - HOUR)
    with plans_of_selections() as plans:
        assert Job.objects.queue_what_is_due() >= 1
    assert len(plans) == 2
    for plan in plans:
        assert "Index Scan using job_upcoming" in plan
        assert "Sort" not in plan


def make_many(count: int, **fields: Any) -> None:
    Job.objects.insert_alike(Job(kind="demo.countdown", timeout=1, **fields), [(new_id(), {}) for _ in range(count)])


def analyze() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE jobs_job")


@contextmanager
def plans_of_selections() -> Iterator[list[str]]:
    """How PostgreSQL executes each SELECT of the body."""
    plans: list[str] = []

    def explain(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if sql.startswith("SELECT"):
            context["cursor"].cursor.execute(f"EXPLAIN {sql}", params)
            plans.append("\n".join(line for (line,) in context["cursor"].cursor.fetchall()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        yield plans
