"""SIGKILL to each process of a cluster, and jobs that take theirs with them: nothing is lost, the rest goes on.

What a worker waits for and what brings a job back depend on the broker, so those kills are repeated on Redis and SQS;
how the supervisor replaces the dead and how an attempt is counted do not, and stay `without_broker`.
"""

import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from demo.eventually import eventually
from jobs.models.queue.leases import LEASE
from tests.conftest import DATABASES
from tests.support.brokers import PLACES, make_cluster_stack_on, on_each
from tests.support.cluster_stack import PATIENCE, ClusterStack, Event, Gate, kill, now, seconds_between, tell

WORKERS = 3
WITHOUT_A_LEASE = LEASE.total_seconds() / 2
"""Seconds: whoever waits for the end of a lease needs longer."""
POISONS = {
    "exiting": "WorkerLost",
    "in a segmentation fault": "WorkerLost",
    "killed by the kernel": "WorkerLost",
    "out of memory": "MemoryError",
}


without_broker = pytest.mark.parametrize("_stack", on_each(DATABASES, "kills"), indirect=True, scope="module")


@pytest.fixture(scope="module", params=on_each(PLACES, "kills"))
def _stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterStack]:
    folder = tmp_path_factory.mktemp(f"kills-{request.param}")
    with make_cluster_stack_on(request.param, request, folder, workers=WORKERS) as stack:
        yield stack


@pytest.fixture
def stack(_stack: ClusterStack) -> ClusterStack:
    """The stack once all of its workers run, whatever the test before has killed."""
    _stack.clusters[0].wait_until_up(WORKERS)
    return _stack


def test_a_job_whose_worker_is_killed_runs_again_within_seconds(stack: ClusterStack) -> None:
    job = stack.post("trouble.sleep", {"seconds": 0, "first_seconds": 600})
    worker, killed_at = stack.worker_of(job), now()
    kill(worker)

    done = stack.wait(job, "succeeded")

    assert done["attempt"] == 2
    assert [(error["type"], error["attempt"]) for error in done["errors"]] == [("WorkerLost", 1)]
    assert seconds_between(killed_at, done["started_at"]) < WITHOUT_A_LEASE


def test_a_cluster_takes_jobs_after_all_its_idle_workers_were_killed(stack: ClusterStack) -> None:
    cluster = stack.clusters[0]
    before = set(cluster.ready_workers())
    for worker in before:
        kill(worker)
    # A claim that a worker sent just before its death may be executed a moment later.
    eventually(lambda: set(cluster.ready_workers()) - before, PATIENCE, "another worker's start")

    jobs = [stack.post("trouble.sleep", {"seconds": 0}) for _ in range(2 * WORKERS)]

    for job in jobs:
        assert stack.wait(job, "succeeded")["attempt"] == 1
        assert stack.worker_of(job) not in before


@without_broker
def test_a_dispatcher_that_is_killed_is_replaced(stack: ClusterStack) -> None:
    cluster = stack.clusters[0]
    [dispatcher] = cluster.children("dispatcher")
    gate = Gate(stack)
    job = gate.hold()

    kill(dispatcher)

    eventually(lambda: cluster.children("dispatcher"), PATIENCE, "another dispatcher's start")
    gate.open()
    assert stack.wait(job, "succeeded")["attempt"] == 1


@pytest.fixture(scope="module")
def poisoned(_stack: ClusterStack) -> dict[str, Event]:
    """A job for each way to kill a worker, with two attempts each; all are posted at once."""
    return {how: _stack.post("trouble.die", {"how": how}, max_attempts=2) for how in POISONS}


@without_broker
@pytest.mark.parametrize(("how", "error"), POISONS.items())
def test_a_job_that_kills_its_worker_fails_after_its_attempts(
    stack: ClusterStack, poisoned: dict[str, Event], how: str, error: str
) -> None:
    job = stack.wait(poisoned[how], "failed")

    assert [(found["type"], found["attempt"]) for found in job["errors"]] == [(error, 1), (error, 2)]


def test_other_jobs_run_beside_one_that_kills_its_workers(stack: ClusterStack) -> None:
    poison = stack.post("trouble.die", {"how": "exiting"}, max_attempts=3)
    others = [stack.post("trouble.sleep", {"seconds": 0.2}) for _ in range(10)]

    for job in others:
        assert stack.wait(job, "succeeded")["attempt"] == 1
    assert stack.wait(poison, "failed")["attempt"] == 3


@without_broker
def test_jobs_that_were_claimed_together_with_poisoned_ones_do_not_fail_for_that(stack: ClusterStack) -> None:
    """Short jobs are claimed many at a time, and a worker that dies loses all that it has claimed."""
    for _ in range(20 * WORKERS):
        last = stack.post("trouble.sip", {"poisoned": False})
    stack.wait(last, "succeeded")
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    poison = [stack.post("trouble.sip", {"poisoned": True}, max_attempts=3, run_at=soon) for _ in range(4)]
    others = [stack.post("trouble.sip", {"poisoned": False}, max_attempts=3, run_at=soon) for _ in range(60)]

    for job in others:
        stack.wait(job, "succeeded")
    for job in poison:
        stack.wait(job, "failed")


def test_a_worker_that_is_told_to_stop_finishes_its_job_and_is_replaced(stack: ClusterStack) -> None:
    gate = Gate(stack)
    job = gate.hold()
    worker = stack.worker_of(job)

    tell(worker, signal.SIGTERM)
    gate.open()

    assert stack.wait(job, "succeeded")["attempt"] == 1
    eventually(lambda: worker not in stack.clusters[0].children("worker"), PATIENCE, "the worker's end")
    stack.clusters[0].wait_until_up(WORKERS)


def test_when_the_supervisor_is_killed_all_its_children_are_gone_and_the_next_cluster_works(
    stack: ClusterStack,
) -> None:
    cluster = stack.clusters[0]
    job = Gate(stack).hold()

    kill(cluster.pid)
    cluster.wait_until_gone()
    cluster.start()

    assert stack.wait(stack.post("trouble.sleep", {"seconds": 0}), "succeeded")["attempt"] == 1
    stack.cancel(job)
