"""What only time can tell: a worker that has gone silent loses its job, one that works on quietly never does."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from signal import SIGCONT

import pytest

from demo.eventually import eventually
from jobs.cluster.stall import STALLED_AFTER
from jobs.models.queue.leases import LEASE
from jobs.worker.heartbeat import RENEW_EVERY
from tests.support.cluster_stack import (
    PATIENCE,
    Cluster,
    ClusterStack,
    Event,
    Gate,
    kill,
    make_cluster_stack,
    seconds_between,
    suspend,
    tell,
)

TAKEN_OVER_WITHIN = LEASE.total_seconds() + PATIENCE
LONG = LEASE + timedelta(seconds=2 * RENEW_EVERY)
"""What a job needs to be taken from a worker that does not renew its lease."""
SHORT_JOBS = 20

pytestmark = pytest.mark.xdist_group("leases")


@dataclass
class Silence:
    """Five clusters of one worker each: one has a long job, one was frozen with its supervisor, one has a worker that
    was frozen alone, one has lost its supervisor, and one is free.

    The jobs are shown as they were when they had just started.
    """

    stack: ClusterStack
    frozen: Cluster
    stalled: Cluster
    gate: Gate
    long: Event
    of_the_frozen: Event
    of_the_stalled: Event
    of_the_killed: Event
    shorts: list[Event]


@pytest.fixture(scope="module")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Silence]:
    """All of it at the same time, because each part takes as long as a lease."""
    with make_cluster_stack("postgresql", tmp_path_factory.mktemp("leases"), clusters=0) as stack:
        clusters = [stack.add_cluster() for _ in range(5)]
        busy, frozen, stalled, killed, free = clusters
        busy.start()
        busy.wait_until_up()
        gate = Gate(stack)
        long = begun(stack, gate.hold(timeout=900))
        silent = (frozen, stalled, killed)
        for cluster in silent:
            cluster.start()
        for cluster in silent:
            cluster.wait_until_up()
        lost = {stack.worker_of(job): begun(stack, job) for job in [sleep_at_first(stack) for _ in silent]}
        of_the_frozen, of_the_stalled, of_the_killed = [lost[cluster.ready_workers()[0]] for cluster in silent]
        for process in (frozen.pid, stack.worker_of(of_the_frozen), stack.worker_of(of_the_stalled)):
            suspend(process)
        kill(killed.pid)
        free.start()
        killed.wait_until_gone()
        free.wait_until_up()
        shorts = [stack.post("trouble.sleep", {"seconds": 0.1}) for _ in range(SHORT_JOBS)]
        yield Silence(stack, frozen, stalled, gate, long, of_the_frozen, of_the_stalled, of_the_killed, shorts)


def sleep_at_first(stack: ClusterStack) -> Event:
    return stack.post("trouble.sleep", {"seconds": 0, "first_seconds": 600}, timeout=900)


def begun(stack: ClusterStack, job: Event) -> Event:
    stack.worker_of(job)
    return stack.wait(job, "running")


def test_short_jobs_go_on_in_another_cluster_beside_a_long_one(silence: Silence) -> None:
    for job in silence.shorts:
        assert silence.stack.wait(job, "succeeded")["attempt"] == 1
    assert silence.stack.client().job(silence.long["id"])["status"] == "running"


def test_the_job_of_a_cluster_whose_supervisor_was_killed_is_finished_by_another(silence: Silence) -> None:
    job = silence.stack.wait(silence.of_the_killed, "succeeded", TAKEN_OVER_WITHIN)

    assert [(error["type"], error["attempt"]) for error in job["errors"]] == [("WorkerLost", 1)]


def test_a_worker_that_was_frozen_alone_is_replaced_by_its_supervisor_long_before_its_lease_is_over(
    silence: Silence,
) -> None:
    job = silence.stack.wait(silence.of_the_stalled, "succeeded", TAKEN_OVER_WITHIN)

    assert [(error["type"], error["attempt"]) for error in job["errors"]] == [("WorkerLost", 1)]
    killed = silence.stalled.events("child_stuck_and_killed", reason="stalled")
    assert [event["child"] for event in killed] == [silence.stack.events("job_started", job_id=job["id"])[0]["worker"]]
    lived = seconds_between(silence.of_the_stalled["started_at"], job["errors"][0]["at"])
    assert STALLED_AFTER < lived < STALLED_AFTER + PATIENCE
    silence.stalled.wait_until_up()


def test_the_job_of_a_worker_that_was_frozen_with_its_supervisor_is_finished_by_another(silence: Silence) -> None:
    job = silence.stack.wait(silence.of_the_frozen, "succeeded", TAKEN_OVER_WITHIN)

    assert [(error["type"], error["attempt"]) for error in job["errors"]] == [("WorkerLost", 1)]
    assert len(silence.stack.events("job_started", job_id=job["id"])) == 2
    assert seconds_between(silence.of_the_frozen["started_at"], job["started_at"]) >= LEASE.total_seconds()


def test_a_worker_that_thaws_abandons_the_job_that_it_has_lost_and_takes_others(silence: Silence) -> None:
    stack, before = silence.stack, silence.stack.wait(silence.of_the_frozen, "succeeded", TAKEN_OVER_WITHIN)
    worker = stack.worker_of(before)

    for process in (worker, silence.frozen.pid):
        tell(process, SIGCONT)

    eventually(lambda: silence.frozen.events("job_abandoned", job_id=before["id"]), PATIENCE, "the end of the attempt")
    assert stack.client().job(before["id"]) == before
    gate = Gate(stack)
    jobs = [gate.post() for _ in range(4)]  # more than the other three workers can begin
    eventually(lambda: worker in workers_of(stack, jobs), PATIENCE, "another job of the worker that was frozen")
    gate.open()
    for job in jobs:
        stack.wait(job, "succeeded")


def test_a_job_longer_than_its_lease_starts_once(silence: Silence) -> None:
    enough = datetime.fromisoformat(silence.long["started_at"]) + LONG
    eventually(lambda: datetime.now(UTC) > enough, 2 * LONG.total_seconds(), "the end of any lease that is not renewed")
    silence.gate.open()

    job = silence.stack.wait(silence.long, "succeeded")

    assert (job["attempt"], job["errors"]) == (1, [])
    assert len(silence.stack.events("job_started", job_id=job["id"])) == 1


@pytest.mark.long
def test_a_job_of_five_minutes_starts_once_while_short_ones_go_on_in_another_cluster(tmp_path: Path) -> None:
    with make_cluster_stack("postgresql", tmp_path, clusters=0) as stack:
        stack.start_cluster()
        long = begun(stack, stack.post("trouble.sleep", {"seconds": 300}, timeout=900))
        stack.start_cluster()
        for _ in range(SHORT_JOBS):
            short = stack.wait(stack.post("trouble.sleep", {"seconds": 10}), "succeeded")
            assert short["attempt"] == 1

        job = stack.wait(long, "succeeded", 300 + PATIENCE)

        assert (job["attempt"], job["errors"]) == (1, [])
        assert len(stack.events("job_started", job_id=job["id"])) == 1


def workers_of(stack: ClusterStack, jobs: list[Event]) -> set[int]:
    """The process ids of the workers that have begun these jobs."""
    ids = {job["id"] for job in jobs}
    return {int(event["worker"].rpartition(":")[2]) for event in stack.events("job_started") if event["job_id"] in ids}
