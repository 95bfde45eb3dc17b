"""Whole stacks with Redis or SQS: whatever happens to the broker delays jobs, and loses none."""

import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from demo.eventually import eventually
from tests.brokers import BROKERS, broker_environment, make_farm_on, on_each
from tests.farm import Event, Farm
from tests.servers.redis import Redis
from tests.servers.sqs import SQS
from tests.test_stops import AT_MOST

WORKERS = 2
JOBS = {"redis": 500, "sqs": 300}
EMPTIED_AFTER = {"redis": (0.2, 0.4, 0.6), "sqs": (0.3,)}
"""Which shares of the jobs have ended then. An SQS queue can be purged once a minute."""
BATCH = 100
WITHIN = 60

Server = Redis | SQS


@pytest.fixture(scope="module", params=on_each(BROKERS, "jobs"))
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(place: str, request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(f"{place}_server")
    return found


@pytest.fixture(scope="module")
def farm(place: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with make_farm_on(place, request, tmp_path_factory.mktemp(f"jobs-{place}"), workers=WORKERS) as farm:
        yield farm


def test_a_broker_that_is_emptied_in_the_middle_of_hundreds_of_jobs_loses_none(
    farm: Farm, server: Server, place: str
) -> None:
    count = JOBS[place]
    jobs = post_many(farm, count)
    for share in EMPTIED_AFTER[place]:
        eventually(partial(enough_finished, farm, share * count), WITHIN, "some jobs' end")
        assert finished(farm) < count
        empty(server)

    eventually(lambda: finished(farm) == count, WITHIN, "the end of all jobs")

    assert {farm.client().job(job)["attempt"] for job in jobs} == {1}


def test_a_broker_that_is_away_delays_jobs_and_refuses_none(farm: Farm, server: Server) -> None:
    workers = farm.clusters[0].ready_workers()
    stop_hard(server)
    try:
        jobs = [farm.post("trouble.sleep", {"seconds": 0}) for _ in range(3)]
        for job in jobs:
            farm.wait(job, "succeeded")
    finally:
        server.start()

    assert farm.wait(farm.post("trouble.sleep", {"seconds": 0}), "succeeded")["attempt"] == 1
    assert farm.clusters[0].ready_workers() == workers


def test_a_job_that_becomes_due_later_runs_although_its_message_was_read_long_before(farm: Farm) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()

    assert farm.wait(farm.post("trouble.sleep", {"seconds": 0}, run_at=soon), "succeeded")["attempt"] == 1


def test_a_cluster_that_waits_for_its_broker_stops_when_it_is_asked_to(farm: Farm) -> None:
    cluster = farm.start_cluster(WORKERS)
    begin = time.monotonic()

    cluster.send(signal.SIGTERM)
    cluster.wait_until_gone(AT_MOST)

    assert cluster.returncode == 0
    assert not cluster.events("child_stuck_and_killed")
    assert time.monotonic() - begin < AT_MOST


@pytest.mark.parametrize("to_the_database", [True, False], ids=["to the database", "from the database"])
def test_jobs_that_are_queued_while_the_broker_is_switched_are_all_run(
    to_the_database: bool, place: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """First nobody serves them; then the cluster has another broker than the web process that goes on taking jobs."""
    before, after = (place, "postgresql") if to_the_database else ("postgresql", place)
    with make_farm_on(before, request, tmp_path_factory.mktemp(f"switch-{place}"), clusters=0) as farm:
        jobs = post_many(farm, BATCH)
        farm.env.update(broker_environment(after, request))
        farm.start_cluster(WORKERS)
        jobs += post_many(farm, BATCH)

        eventually(lambda: finished(farm) == 2 * BATCH, WITHIN, "the end of all jobs")

        assert {farm.client().job(job)["attempt"] for job in jobs} == {1}


def post_many(farm: Farm, count: int) -> list[str]:
    """Jobs that each take some milliseconds; their ids."""
    body = {"jobs": [{"kind": "trouble.sleep", "params": {"seconds": 0.02}}] * BATCH}
    answers: list[Event] = [farm.client().post("jobs/batch/", body, expect=202).json() for _ in range(count // BATCH)]
    return [item["id"] for answer in answers for item in answer["results"]]


def finished(farm: Farm) -> int:
    """How many jobs have succeeded."""
    count, url = 0, "jobs/?status=succeeded&page_size=200"
    while url:
        page = farm.client().get(url, expect=200).json()
        count += len(page["results"])
        url = page["next"]
    return count


def enough_finished(farm: Farm, count: float) -> bool:
    return finished(farm) >= count


def empty(server: Server) -> None:
    """Throw away everything that it holds."""
    server.command("FLUSHALL") if isinstance(server, Redis) else server.purge()


def stop_hard(server: Server) -> None:
    server.stop("kill") if isinstance(server, Redis) else server.stop()
