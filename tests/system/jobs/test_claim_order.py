"""The order of jobs: on time, more urgent ones first, then older ones, and none is starved."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from django_q.conf import Conf

from jobs.brokers import claims
from jobs.models.queue.due import STARVED_AFTER
from tests.support.cluster_stack import ClusterStack, Gate, make_cluster_stack, on_both, seconds_between

BETWEEN = timedelta(milliseconds=700)
PUNCTUAL_WITHIN = 1
"""Seconds that are promised."""
SLACK = 20
"""Seconds that a busy machine may add."""


@pytest.fixture(scope="module", params=on_both("turns"))
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterStack]:
    with make_cluster_stack(request.param, tmp_path_factory.mktemp("turns"), workers=1) as stack:
        yield stack


def test_due_jobs_are_looked_for_more_often_than_once_a_second() -> None:
    assert Conf.POLL + claims.QUEUE_DUE_EVERY < PUNCTUAL_WITHIN


def test_a_job_starts_within_a_second_of_the_time_that_it_was_scheduled_for(stack: ClusterStack) -> None:
    start = datetime.now(UTC) + timedelta(seconds=2)
    jobs = [stack.post("trouble.sleep", {"seconds": 0}, run_at=(start + n * BETWEEN).isoformat()) for n in range(3)]

    for job in jobs:
        assert job["status"] == ("scheduled" if seconds_between(job["created_at"], job["run_at"]) > 0 else "queued")
        done = stack.wait(job, "succeeded")
        assert 0 <= seconds_between(done["run_at"], done["started_at"]) < PUNCTUAL_WITHIN + SLACK


def test_more_urgent_jobs_come_first_and_among_equals_the_older(stack: ClusterStack) -> None:
    gate = Gate(stack)
    gate.hold(priority=100)  # by the one worker that there is
    jobs = [stack.post("trouble.sleep", {"seconds": 0}, priority=priority) for priority in [0, -5, 7, 0, 7]]
    gate.open()
    for job in jobs:
        stack.wait(job, "succeeded")

    ids = [job["id"] for job in jobs]
    started = [ids.index(event["job_id"]) for event in stack.events("job_started") if event["job_id"] in ids]
    assert started == [2, 4, 0, 3, 1]


def test_a_job_of_low_priority_runs_although_there_is_always_a_more_urgent_one(
    stack: ClusterStack,
) -> None:
    until = datetime.now(UTC) + 6 * STARVED_AFTER
    hurried = {"until": until.isoformat(), "priority": 50}
    for _ in range(3):
        stack.post("trouble.again", hurried, priority=50)
    patient = stack.post("trouble.sleep", {"seconds": 0}, priority=-100)

    done = stack.wait(patient, "succeeded", within=6 * STARVED_AFTER.total_seconds())

    assert datetime.fromisoformat(done["started_at"]) < until - timedelta(seconds=1)
    assert seconds_between(done["run_at"], done["started_at"]) >= STARVED_AFTER.total_seconds()
