"""Whose turn it is: at the time asked for, the more urgent first, the older first, and nobody never."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from jobs.queue import PATIENCE
from tests.farm import Event, Farm, make_farm, on_both, seconds_between

BUSY = 1.0
"""Seconds for which the one worker is kept busy while the test queues what it is about."""
BETWEEN = timedelta(milliseconds=700)


@pytest.fixture(scope="module", params=on_both("turns"))
def farm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with make_farm(request.param, tmp_path_factory.mktemp("turns"), workers=1) as farm:
        yield farm


def test_a_job_starts_within_a_second_of_the_time_that_it_was_scheduled_for(farm: Farm) -> None:
    farm.client()
    start = datetime.now(UTC) + timedelta(seconds=3)
    jobs = [farm.post("trouble.sleep", {"seconds": 0}, run_at=(start + n * BETWEEN).isoformat()) for n in range(3)]

    for job in jobs:
        assert job["status"] == "scheduled"
        done = farm.wait(job, "succeeded")
        assert 0 <= seconds_between(done["run_at"], done["started_at"]) < 1


def test_the_more_urgent_come_first_and_among_equals_the_older(farm: Farm) -> None:
    farm.post("trouble.sleep", {"seconds": BUSY}, priority=100)
    jobs = [(priority, farm.post("trouble.sleep", {"seconds": 0}, priority=priority)) for priority in [0, -5, 7, 0, 7]]

    started = [
        (farm.wait(job, "succeeded")["started_at"], priority, number) for number, (priority, job) in enumerate(jobs)
    ]

    assert [(priority, number) for _, priority, number in sorted(started)] == [(7, 2), (7, 4), (0, 0), (0, 3), (-5, 1)]


def test_a_job_that_nobody_is_in_a_hurry_for_runs_although_there_is_always_a_more_urgent_one(farm: Farm) -> None:
    until = datetime.now(UTC) + 2 * PATIENCE
    hurried = {"until": until.isoformat(), "priority": 50}
    for _ in range(3):
        farm.post("trouble.again", hurried, priority=50)
    patient = farm.post("trouble.sleep", {"seconds": 0}, priority=-100)

    done = farm.wait(patient, "succeeded", within=2 * PATIENCE.total_seconds())

    assert datetime.fromisoformat(done["started_at"]) < until - timedelta(seconds=1)
    assert waited(done) >= PATIENCE.total_seconds() - 1


def waited(job: Event) -> float:
    return seconds_between(job["created_at"], job["started_at"])
