"""Finished jobs are counted once, in the minute in which they finished."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from jobs.models.states import Status
from monitor.models import ErrorGroup, JobFigures, RollupPosition
from monitor.models.figures import ALL_KINDS, EVER
from monitor.rollups import window
from monitor.rollups.finished_jobs import count_finished_jobs
from tests.support.factories import make_job

pytestmark = pytest.mark.django_db


def make_finished(ago: float, status: str = Status.SUCCEEDED, wait: float = 0.2, run: float = 2.0) -> datetime:
    """Make a job that finished so many seconds ago; returns when that was."""
    finished = timezone.now() - timedelta(seconds=ago)
    started = finished - timedelta(seconds=run)
    make_job(status, finished_at=finished, started_at=started, run_at=started - timedelta(seconds=wait))
    return finished


def figures(status: str = Status.SUCCEEDED, kind: str = "demo.countdown") -> dict[datetime, int]:
    rows = JobFigures.objects.filter(kind=kind, status=status).exclude(minute=EVER)
    return dict(rows.values_list("minute", "count"))


def test_each_job_counts_once_in_its_minute() -> None:
    first, second = make_finished(300), make_finished(100)
    assert count_finished_jobs() == 2
    assert count_finished_jobs() == 0
    minutes = {moment.replace(second=0, microsecond=0) for moment in (first, second)}
    assert figures() == dict.fromkeys(minutes, 1)
    assert figures(kind=ALL_KINDS) == figures()
    assert JobFigures.objects.get(minute=EVER, kind="demo.countdown").count == 2


def test_what_has_just_finished_is_left_for_the_next_round() -> None:
    make_finished(0, run=0.1)
    assert count_finished_jobs() == 0


def test_later_jobs_are_added_to_the_same_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    minute = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    RollupPosition.objects.create(name="jobs", until=minute)
    for second, expected in ((10, 1), (40, 2)):
        at = minute + timedelta(seconds=second)
        make_job(Status.FAILED, finished_at=at, started_at=at, run_at=at)
        monkeypatch.setattr(window, "database_now", lambda at=at: at + window.DELAY + timedelta(seconds=1))
        count_finished_jobs()
        assert figures(Status.FAILED) == {minute: expected}
    row = JobFigures.objects.get(minute=minute, kind="demo.countdown")
    assert sum(row.run_buckets) == sum(row.wait_buckets) == 2
    assert ErrorGroup.objects.get().count == 2


def test_waiting_and_run_times_are_kept_apart() -> None:
    make_finished(60, wait=0.2, run=20)
    count_finished_jobs()
    row = JobFigures.objects.get(minute=EVER, kind="demo.countdown")
    assert (row.wait_seconds, row.run_seconds) == pytest.approx((0.2, 20))
    assert (row.wait_buckets.index(1), row.run_buckets.index(1)) == (4, 10)


def test_a_job_that_never_started_has_no_times() -> None:
    at = timezone.now() - timedelta(minutes=1)
    make_job(Status.CANCELLED, attempt=0, started_at=None, finished_at=at)
    assert count_finished_jobs() == 1
    assert sum(JobFigures.objects.get(minute=EVER, kind=ALL_KINDS).wait_buckets) == 0
