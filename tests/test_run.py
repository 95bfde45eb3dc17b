"""What a handler sees of its attempt, and how it shows progress."""

import math
from typing import Any

import orjson
import pytest

from jobs import run as run_module
from jobs.errors import PermanentError
from jobs.models import Job
from jobs.run import Run
from jobs.states import Status
from tests.make import make_job, row

pytestmark = pytest.mark.django_db


@pytest.fixture
def job() -> Job:
    return make_job(Status.RUNNING, attempt=2)


def test_a_handler_knows_its_job_and_attempt(job: Job) -> None:
    assert (Run(job).job_id, Run(job).attempt) == (job.pk, 2)


@pytest.mark.parametrize(
    ("percent", "shown"), [(0, 0), (50, 50), (33.333, 33.3), (100, 100), (-5, 0), (1e9, 100), (True, 1), (99.99, 100)]
)
def test_progress_is_shown_as_a_percentage(job: Job, percent: float, shown: float) -> None:
    Run(job).progress(percent, "counting")
    assert row(job)["progress"] == {"percent": shown, "message": "counting"}


@pytest.mark.parametrize("percent", [math.nan, math.inf, -math.inf])
def test_what_is_no_percentage_is_a_bug_that_no_retry_mends(job: Job, percent: float) -> None:
    with pytest.raises(PermanentError):
        Run(job).progress(percent)
    assert row(job)["progress"] == {"percent": 0, "message": ""}


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("", ""),
        ("x" * 500, "x" * 200),
        ("a\0b", "ab"),
        ("\0" * 300 + "x", "x"),
        ("\U0001f600" * 300, "\U0001f600" * 200),
    ],
)
def test_messages_are_cut_and_freed_of_what_cannot_be_stored(job: Job, message: str, shown: str) -> None:
    Run(job).progress(1, message)
    assert row(job)["progress"]["message"] == shown


@pytest.mark.parametrize("message", ["a\ud800b", "\udcff"])
def test_a_message_with_half_a_character_can_be_stored_and_shown(job: Job, message: str) -> None:
    """It comes from file names (surrogateescape); it must not keep the job's end from being recorded."""
    Run(job).progress(1, message)
    job.succeed(None)
    orjson.dumps(row(job)["progress"])


def test_fast_progress_is_written_now_and_then(
    job: Job, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(run_module, "SHOWN_EVERY", 1000)
    with django_assert_num_queries(1):
        run = Run(job)
        for percent in range(100):
            run.progress(percent, "fast")
    assert row(job)["progress"]["percent"] == 0
    job.renew_lease()
    assert row(job)["progress"] == {"percent": 99, "message": "fast"}


def test_slow_progress_is_written_at_once(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "SHOWN_EVERY", 0)
    run = Run(job)
    for percent in (10, 20):
        run.progress(percent)
        assert row(job)["progress"]["percent"] == percent


def test_progress_of_an_attempt_that_is_over_goes_nowhere(job: Job) -> None:
    Job.objects.update(attempt=3)
    before = row(job)
    Run(job).progress(50, "from the past")
    assert row(job) == before
