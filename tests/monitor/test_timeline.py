"""A job's life as bars."""

from datetime import timedelta

import pytest
from django.utils import timezone

from jobs.models.states import Status
from monitor.timeline import WIDTH, timeline
from tests.support.factories import make_error, make_job

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("status", sorted(Status))
def test_the_bars_of_any_job_fit_into_the_picture(status: Status) -> None:
    now = timezone.now()
    job = make_job(status, created_at=now - timedelta(minutes=5))
    bars = timeline(job, now)
    assert bars
    assert all(bar.width > 0 and bar.seconds >= 0 for bar in bars)
    assert bars[-1].x + bars[-1].width <= WIDTH


def test_a_failed_attempt_is_drawn_from_its_start_to_its_end() -> None:
    now = timezone.now()
    ends = {"started_at": (now - timedelta(seconds=62)).isoformat(), "at": (now - timedelta(seconds=60)).isoformat()}
    times = {"created_at": now - timedelta(seconds=90), "started_at": now - timedelta(seconds=20), "finished_at": now}
    bars = timeline(make_job(Status.SUCCEEDED, attempt=2, errors=[make_error() | ends], **times), now)
    assert [(bar.kind, round(bar.seconds)) for bar in bars] == [
        ("wait", 28),
        ("failed", 2),
        ("wait", 40),
        ("succeeded", 20),
    ]


def test_attempts_whose_start_is_not_known_follow_each_other() -> None:
    now = timezone.now()
    errors = [make_error() | {"at": (now - timedelta(seconds=60)).isoformat(), "started_at": None}]
    times = {"created_at": now - timedelta(seconds=90), "started_at": now - timedelta(seconds=20), "finished_at": now}
    job = make_job(Status.SUCCEEDED, attempt=2, errors=errors, **times)
    bars = timeline(job, now)
    assert [bar.kind for bar in bars] == ["failed", "wait", "succeeded"]
    assert [round(bar.seconds) for bar in bars] == [30, 40, 20]
