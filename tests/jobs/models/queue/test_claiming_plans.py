"""How PostgreSQL executes what the engine asks all the time, whatever its statistics say."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from jobs.models import Job
from jobs.models.queryset import JobQuerySet
from jobs.models.queue import sql
from jobs.models.queue.due import MAIN_THREAD
from jobs.models.queue.leases import LEASE
from jobs.models.states import Status
from tests.support.claims import claim_for_pools, claim_jobs, due_jobs
from tests.support.factories import WORKER, make_error, make_job

pytestmark = pytest.mark.skipif(connection.vendor != "postgresql", reason="They are PostgreSQL's plans.")

SECOND, HOUR, DAY = timedelta(seconds=1), timedelta(hours=1), timedelta(days=1)


@pytest.mark.django_db
@pytest.mark.parametrize("statistics", ["none", "of an empty table", "fresh"])
@pytest.mark.parametrize("run_at", [timezone.now() + 365 * DAY, timezone.now() - SECOND], ids=["next year", "now"])
def test_looking_for_due_jobs_neither_scans_the_table_nor_sorts_it(statistics: str, run_at: datetime) -> None:
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
    with plans_of("SELECT") as plans:
        assert Job.objects.queue_due() >= 1
    assert len(plans) == 2
    for plan in plans:
        assert "Index Scan using job_upcoming" in plan
        assert "Sort" not in plan


FEW = 20
"""Rows that a claim may read, beside thousands that wait for others."""
STATISTICS = ["none", "of an empty queue", "fresh"]


@pytest.mark.django_db
@pytest.mark.parametrize("by_age", [False, True])
@pytest.mark.parametrize("queue", [None, "mail"])
@pytest.mark.parametrize("statistics", STATISTICS)
def test_a_claim_for_one_pool_reads_nothing_of_what_waits_for_another(
    statistics: str, queue: str | None, by_age: bool
) -> None:
    make_backlog(statistics, queue=queue or "default")
    with rows_read_by_claims() as read:
        claimed = claim_for_pools(WORKER, {"test.call": 2, "test.none": 2}, queue=queue, by_age=by_age)
    assert [job.kind for job in claimed] == ["test.call"] * 2
    assert max(read) <= FEW


@pytest.mark.django_db
@pytest.mark.parametrize("by_age", [False, True])
@pytest.mark.parametrize("queues", [None, ["mail"]])
@pytest.mark.parametrize("statistics", STATISTICS)
@pytest.mark.parametrize("limit", [1, 10])
def test_a_claim_for_a_main_thread_reads_nothing_of_what_waits_for_pools(
    statistics: str, queues: list[str] | None, by_age: bool, limit: int
) -> None:
    make_backlog(statistics, queue=queues[0] if queues else "default")
    kinds = ("demo.countdown", "test.long")
    with rows_read_by_claims() as read:
        claimed = claim_jobs(WORKER, limit=limit, queues=queues, kinds=kinds, by_age=by_age)
    assert [job.kind for job in claimed] == ["test.long"] * min(limit, 5)
    assert max(read) <= FEW


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("rows", "index"),
    [
        (due_jobs(), "job_due"),
        (due_jobs(queues=["default"]), "job_due_in_queue"),
        (due_jobs(queues=["default", "mail"]), "job_due"),
        (due_jobs(by_age=True), "job_longest_waiting"),
        (due_jobs(by_age=True, queues=["default"]), "job_longest_waiting"),
    ],
)
def test_jobs_for_a_main_thread_are_read_in_the_order_of_an_index_even_with_stale_statistics(
    rows: JobQuerySet, index: str
) -> None:
    make_many(1000)
    Job.objects.update(status=Status.CANCELLED, finished_at=timezone.now())
    analyze()
    make_many(1000)
    plan = rows.filter(pool=MAIN_THREAD)[:2].explain()
    assert f"using {index} " in plan
    assert "Sort" not in plan


@pytest.mark.django_db
@pytest.mark.parametrize("write", ["results", "leases", "progress", "failure", "cancellation"])
@pytest.mark.parametrize("statistics", ["none", "of an empty queue"])
def test_a_worker_finds_its_jobs_by_their_ids_and_not_in_the_index_of_running_jobs(statistics: str, write: str) -> None:
    """The index of running jobs keeps an entry of each job that has been running until the next VACUUM."""
    make_many(4000)
    Job.objects.update(status=Status.CANCELLED, finished_at=timezone.now())
    if statistics == "of an empty queue":
        analyze()
    jobs = [make_job(Status.RUNNING) for _ in range(10)]
    with plans_of("UPDATE ") as plans:
        if write == "results":
            Job.objects.succeed_many(WORKER, [(job, None) for job in jobs])
        elif write == "failure":
            jobs[0].fail(make_error())
        elif write == "cancellation":
            jobs[0].cancel()
        else:
            lease = LEASE if write == "leases" else None
            sql.sql_for(connection.alias).update_held(Job.objects.all(), WORKER, jobs, lease)
    assert plans
    for plan in plans:
        assert "job_leases" not in plan


def make_backlog(statistics: str, queue: str) -> None:
    """Thousands of urgent mails, five calls and five jobs for a main thread; all have waited for an hour."""
    now = timezone.now()
    make_many(4000)
    Job.objects.update(status=Status.CANCELLED, finished_at=now)
    if statistics == "of an empty queue":
        analyze()
    options = {"queue": queue, "run_at": now - HOUR}
    make_many(4000, kind="test.mail", pool="test.mail", priority=9, **options)
    make_many(5, kind="test.call", pool="test.call", **options)
    make_many(5, kind="test.long", **options)
    if statistics == "fresh":
        analyze()


def make_many(count: int, **fields: Any) -> None:
    template = Job(**{"kind": "demo.countdown", "timeout": 1} | fields)
    Job.objects.insert([template.copy({}) for _ in range(count)])


def analyze() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE jobs_job")


@contextmanager
def plans_of(statement: str) -> Iterator[list[str]]:
    """The plans of the statements in the body that contain this text."""
    plans: list[str] = []

    def explain(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if statement in sql:
            last = sql.rpartition(";")[2]  # SUCCEED_MANY sets lock_timeout first
            context["cursor"].cursor.execute(f"EXPLAIN {last}", params)
            plans.append("\n".join(line for (line,) in context["cursor"].cursor.fetchall()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        yield plans


@contextmanager
def rows_read_by_claims() -> Iterator[list[int]]:
    """How many rows or index entries each statement in the body reads that locks jobs."""
    read: list[int] = []

    def explain(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if "FOR UPDATE" in sql:
            with transaction.atomic():
                cursor = context["cursor"].cursor
                cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", params)
                read.append(rows_read(cursor.fetchone()[0][0]["Plan"]))
                transaction.set_rollback(True)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(explain):
        yield read
    assert read


def rows_read(plan: dict[str, Any]) -> int:
    """How many rows the largest scan of a plan reads."""
    removed = plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    own = (plan["Actual Rows"] + removed) * plan["Actual Loops"] if "Scan" in plan["Node Type"] else 0
    return max([own, *map(rows_read, plan.get("Plans", []))])
