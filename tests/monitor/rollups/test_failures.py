"""Failed jobs are put into the groups of their errors, with few statements."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobs.models import Job
from jobs.models.states import Status
from monitor.models import ErrorGroup, ErrorHour, FailedJob
from monitor.rollups import failures
from tests.support.factories import make_error, make_job

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def make_failed(at: datetime, message: str = "first", **error: str) -> Job:
    return make_job(Status.FAILED, finished_at=at, errors=[make_error(message) | error])


def group() -> None:
    """Group all failed jobs that are in no group yet."""
    failures.group(Job.objects.filter(status=Status.FAILED).exclude(pk__in=FailedJob.objects.values("pk")))


def test_a_group_counts_its_jobs_and_shows_the_latest() -> None:
    late = make_failed(NOON + timedelta(minutes=50), "late")
    make_failed(NOON + timedelta(minutes=10), "early")
    group()
    same = ErrorGroup.objects.get()
    assert (same.count, same.message, same.example) == (2, "late", late.pk)
    assert (same.first_seen_at, same.last_seen_at) == (NOON + timedelta(minutes=10), NOON + timedelta(minutes=50))
    assert list(ErrorHour.objects.values_list("hour", "count")) == [(NOON, 2)]
    assert FailedJob.objects.filter(group=same).count() == 2


def test_later_failures_are_added(settings: Any) -> None:
    settings.RELEASE = "1"
    make_failed(NOON)
    make_failed(NOON, type="ValueError")
    group()
    settings.RELEASE = "2"
    for minutes in (1, 61):
        make_failed(NOON + timedelta(minutes=minutes), "again")
    group()
    same = ErrorGroup.objects.get(type="RuntimeError")
    assert (same.count, same.message, same.release, same.first_seen_at) == (3, "again", "1", NOON)
    assert same.last_seen_at == NOON + timedelta(minutes=61)
    hours = ErrorHour.objects.filter(group=same).order_by("hour").values_list("hour", "count")
    assert list(hours) == [(NOON, 2), (NOON + timedelta(hours=1), 1)]
    assert ErrorGroup.objects.get(type="ValueError").count == 1


def test_a_hundred_groups_take_no_more_statements_than_one(
    django_assert_max_num_queries: Callable[[int], AbstractContextManager[Any]],
) -> None:
    for number in range(100):
        make_failed(NOON, type=f"Error{number}")
    with django_assert_max_num_queries(10):
        group()
    assert ErrorGroup.objects.count() == 100
