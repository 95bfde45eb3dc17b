"""What only time can tell: a worker that has gone silent loses its job, one that works on quietly never does."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from signal import SIGCONT, SIGSTOP

import pytest

from demo.eventually import eventually
from tests.farm import Cluster, Event, Farm, kill, make_farm, seconds_between, tell

LEASE = 30
LONG = LEASE + 10
"""Seconds of a job that needs its lease renewed to be left alone."""
TAKEN_OVER_WITHIN = LEASE + 15
SHORT_JOBS = 20

pytestmark = pytest.mark.xdist_group("leases")


@dataclass
class Silence:
    """Four clusters of one worker each: one works long, one was frozen and thawed, one lost its guard, one is free."""

    farm: Farm
    frozen: Cluster
    long: Event
    of_the_frozen: Event
    of_the_killed: Event
    shorts: list[Event]


@pytest.fixture(scope="module")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silence]:
    """Everything at once, because each part takes as long as a lease."""
    with make_farm("postgresql", tmp_path_factory.mktemp("leases"), clusters=0) as farm:
        _, long = begin(farm, {"seconds": LONG})
        frozen, of_the_frozen = begin(farm, {"seconds": 0, "first_seconds": 600})
        killed, of_the_killed = begin(farm, {"seconds": 0, "first_seconds": 600})
        farm.start_cluster()
        tell(farm.worker_of(of_the_frozen), SIGSTOP)
        kill(killed.pid)
        killed.wait_until_gone()
        shorts = [farm.post("trouble.sleep", {"seconds": 0.1}) for _ in range(SHORT_JOBS)]
        yield Silence(farm, frozen, long, of_the_frozen, of_the_killed, shorts)


def begin(farm: Farm, params: dict[str, float]) -> tuple[Cluster, Event]:
    """A new cluster, which is the only free one, and the job that it has begun."""
    cluster = farm.start_cluster()
    job = farm.post("trouble.sleep", params, timeout=900)
    assert farm.worker_of(job) in cluster.members()
    return cluster, job


def test_short_jobs_go_on_in_another_cluster_beside_a_long_one(silence: Silence) -> None:
    for job in silence.shorts:
        assert silence.farm.wait(job, "succeeded")["attempt"] == 1
    assert silence.farm.client().job(silence.long["id"])["status"] == "running"


def test_the_job_of_a_cluster_whose_guard_was_killed_is_finished_by_another(silence: Silence) -> None:
    job = silence.farm.wait(silence.of_the_killed, "succeeded", TAKEN_OVER_WITHIN)

    assert [(error["type"], error["attempt"]) for error in job["errors"]] == [("WorkerLost", 1)]


def test_the_job_of_a_frozen_worker_is_finished_by_another(silence: Silence) -> None:
    job = silence.farm.wait(silence.of_the_frozen, "succeeded", TAKEN_OVER_WITHIN)

    assert [(error["type"], error["attempt"]) for error in job["errors"]] == [("WorkerLost", 1)]
    [first, second] = silence.farm.events("job_started", job_id=job["id"])
    assert seconds_between(first["timestamp"], second["timestamp"]) > LEASE - 1


def test_a_worker_that_thaws_notices_that_its_job_is_not_its_own_any_more_and_goes_on(silence: Silence) -> None:
    farm, before = silence.farm, silence.farm.wait(silence.of_the_frozen, "succeeded", TAKEN_OVER_WITHIN)
    worker = farm.worker_of(before)

    tell(worker, SIGCONT)

    eventually(lambda: silence.frozen.events("job_abandoned", job_id=before["id"]), 10, "the end of the attempt")
    assert farm.client().job(before["id"]) == before
    jobs = [farm.post("trouble.sleep", {"seconds": 0.5}) for _ in range(6)]
    for job in jobs:
        farm.wait(job, "succeeded")
    assert worker in {farm.worker_of(job) for job in jobs}


def test_a_job_longer_than_its_lease_starts_once(silence: Silence) -> None:
    job = silence.farm.wait(silence.long, "succeeded", LONG + 10)

    assert (job["attempt"], job["errors"]) == (1, [])
    assert len(silence.farm.events("job_started", job_id=job["id"])) == 1


@pytest.mark.long
def test_a_job_of_five_minutes_starts_once_while_short_ones_go_on_in_another_cluster(tmp_path: Path) -> None:
    with make_farm("postgresql", tmp_path, clusters=0) as farm:
        _, long = begin(farm, {"seconds": 300})
        farm.start_cluster()
        for _ in range(SHORT_JOBS):
            short = farm.wait(farm.post("trouble.sleep", {"seconds": 10}), "succeeded")
            assert short["attempt"] == 1

        job = farm.wait(long, "succeeded", 320)

        assert (job["attempt"], job["errors"]) == (1, [])
        assert len(farm.events("job_started", job_id=job["id"])) == 1
