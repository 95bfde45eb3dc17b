"""Whole stacks with Redis or SQS: whatever happens to the broker delays jobs, and loses none."""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from demo.eventually import eventually
from tests.support.brokers import BROKERS, broker_environment, make_cluster_stack_on, on_each
from tests.support.cluster_stack import PATIENCE, ClusterStack, Event, Gate, seconds_between
from tests.support.servers.redis import Redis
from tests.support.servers.sqs import SQS

WORKERS = 2
EMPTIED = {"redis": 3, "sqs": 1}
"""How often the broker is emptied, with many jobs before and behind. An SQS queue can be purged once a minute."""
BATCH = 100
WITHIN = 3 * PATIENCE
GRACE = 60
"""Seconds that a cluster gives its workers to stop by themselves: more than any of them waits for its broker."""

Server = Redis | SQS


@pytest.fixture(scope="module", params=on_each(BROKERS, "jobs"))
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server(place: str, request: pytest.FixtureRequest) -> Server:
    found: Server = request.getfixturevalue(f"{place}_server")
    return found


@pytest.fixture(scope="module")
def stack(
    place: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ClusterStack]:
    with make_cluster_stack_on(place, request, tmp_path_factory.mktemp(f"jobs-{place}"), workers=WORKERS) as stack:
        yield stack


def test_a_broker_that_is_emptied_in_the_middle_of_hundreds_of_jobs_loses_none(
    stack: ClusterStack, server: Server, place: str
) -> None:
    """It is emptied while all workers wait for this test with jobs behind them, and Redis again as they go on."""
    jobs, gates = post_many(stack, BATCH), {}
    for _ in range(EMPTIED[place]):
        gate = Gate(stack)
        gates[gate] = [gate.post() for _ in range(WORKERS)]
        jobs += [job["id"] for job in gates[gate]] + post_many(stack, BATCH)

    for gate, holding in gates.items():
        for job in holding:
            stack.worker_of(job)
        # A worker may already have run some jobs behind, if the other one had locked the rows before them.
        assert len(finished(stack, jobs)) < len(jobs) - WORKERS
        empty(server)
        gate.open()
        if isinstance(server, Redis):
            empty(server)

    assert_all_finish_at_their_first_attempt(stack, jobs)


def test_a_broker_that_is_away_delays_jobs_and_refuses_none(stack: ClusterStack, server: Server) -> None:
    workers = stack.clusters[0].ready_workers()
    stop_hard(server)
    try:
        jobs = [stack.post("trouble.sleep", {"seconds": 0}) for _ in range(3)]
        for job in jobs:
            stack.wait(job, "succeeded")
    finally:
        server.start()

    assert stack.wait(stack.post("trouble.sleep", {"seconds": 0}), "succeeded")["attempt"] == 1
    assert stack.clusters[0].ready_workers() == workers


def test_a_job_that_becomes_due_later_runs_although_its_message_was_read_long_before(stack: ClusterStack) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()

    assert stack.wait(stack.post("trouble.sleep", {"seconds": 0}, run_at=soon), "succeeded")["attempt"] == 1


def test_a_cluster_that_waits_for_its_broker_stops_when_it_is_asked_to(stack: ClusterStack) -> None:
    cluster = stack.start_cluster(WORKERS, grace=GRACE)
    workers = set(cluster.workers())

    cluster.send(signal.SIGTERM)
    cluster.wait_until_gone(2 * PATIENCE)

    assert cluster.returncode == 0
    assert {int(event["worker"].rpartition(":")[2]) for event in cluster.events("worker_stopped")} == workers
    [asked], [gone] = cluster.events("cluster_stopping"), cluster.events("cluster_stopped")
    assert seconds_between(asked["timestamp"], gone["timestamp"]) < GRACE


@pytest.mark.parametrize("to_the_database", [True, False], ids=["to the database", "from the database"])
def test_jobs_that_are_queued_while_the_broker_is_switched_are_all_run(
    to_the_database: bool, place: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Before the cluster starts, and while it has another broker than the web process that accepts the jobs."""
    before, after = (place, "postgresql") if to_the_database else ("postgresql", place)
    with make_cluster_stack_on(before, request, tmp_path_factory.mktemp(f"switch-{place}"), clusters=0) as stack:
        jobs = post_many(stack, BATCH)
        stack.env.update(broker_environment(after, request))
        stack.start_cluster(WORKERS)
        jobs += post_many(stack, BATCH)

        assert_all_finish_at_their_first_attempt(stack, jobs)


def post_many(stack: ClusterStack, count: int) -> list[str]:
    """Jobs that each take some milliseconds; their ids."""
    body = {"jobs": [{"kind": "trouble.sleep", "params": {"seconds": 0.01}}] * BATCH}
    answers: list[Event] = [stack.client().post("jobs/batch/", body, expect=202).json() for _ in range(count // BATCH)]
    return [item["id"] for answer in answers for item in answer["results"]]


def assert_all_finish_at_their_first_attempt(stack: ClusterStack, jobs: list[str]) -> None:
    eventually(lambda: len(finished(stack, jobs)) == len(jobs), WITHIN, "the end of all jobs", pause=0.2)
    assert set(finished(stack, jobs).values()) == {1}


def finished(stack: ClusterStack, jobs: list[str]) -> dict[str, int]:
    """The jobs that have succeeded, and at which attempt."""
    found, url = {}, "jobs/?status=succeeded&page_size=200"
    while url:
        page = stack.client().get(url, expect=200).json()
        found |= {job["id"]: job["attempt"] for job in page["results"]}
        url = page["next"]
    return {job: found[job] for job in jobs if job in found}


def empty(server: Server) -> None:
    """Delete everything that the broker holds."""
    server.command("FLUSHALL") if isinstance(server, Redis) else server.purge()


def stop_hard(server: Server) -> None:
    server.stop("kill") if isinstance(server, Redis) else server.stop()
