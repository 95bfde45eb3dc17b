"""What a handler sees of its attempt, and how it shows progress."""

import math
from typing import Any

import orjson
import pytest

from jobs.errors import PermanentError
from jobs.models import Job
from jobs.models.states import Status
from jobs.run import Run
from tests.support.factories import WORKER, make_job, row

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
    Job.objects.show_progress(WORKER, [job])
    assert row(job)["progress"] == {"percent": shown, "message": "counting"}


@pytest.mark.parametrize("percent", [math.nan, math.inf, -math.inf])
def test_an_invalid_percentage_is_a_permanent_error(job: Job, percent: float) -> None:
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
def test_messages_are_cut_and_rid_of_characters_that_cannot_be_stored(job: Job, message: str, shown: str) -> None:
    Run(job).progress(1, message)
    Job.objects.show_progress(WORKER, [job])
    assert row(job)["progress"]["message"] == shown


@pytest.mark.parametrize("message", ["a\ud800b", "\udcff"])
def test_a_message_with_half_a_character_can_be_stored_and_shown(job: Job, message: str) -> None:
    """It comes from file names (surrogateescape); it must not keep the job's end from being recorded."""
    Run(job).progress(1, message)
    Job.objects.show_progress(WORKER, [job])
    job.succeed(None)
    orjson.dumps(row(job)["progress"])


def test_progress_costs_the_handler_no_query(job: Job, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        for percent in range(100):
            Run(job).progress(percent, "fast")
    job.succeed(None)
    assert row(job)["progress"] == {"percent": 100, "message": "fast"}
