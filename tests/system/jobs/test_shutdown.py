"""A cluster that is asked to stop: it claims no more, finishes or hands back what runs, and is gone, with status 0."""

import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from demo.eventually import eventually
from jobs.cluster.supervisor import KILL_AFTER
from tests.support.cluster_stack import PATIENCE, Cluster, ClusterStack, Event, Gate, make_cluster_stack, on_both, tell

GRACE = 1
LONG_GRACE = 300
SLACK = 40
"""Seconds that a busy machine may add to any promise."""
AT_MOST = GRACE + KILL_AFTER + SLACK
STOPS, STOPS_ON_SQLITE = 26, 8
AT_ONCE = 4
SINCE = ["its start", "child_started", "child_started", "cluster_started", "worker_started", "worker_started"]
SOONEST, LATEST = 0.0, 1.0
SEED = 346
POLITE = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture(scope="module", params=on_both("stops"))
def stack(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterStack]:
    with make_cluster_stack(request.param, tmp_path_factory.mktemp("stops"), clusters=0, grace=GRACE) as stack:
        yield stack


@pytest.fixture
def cluster(stack: ClusterStack) -> Iterator[Cluster]:
    """A cluster of its own for each test, with one worker and little grace."""
    cluster = stack.start_cluster()
    yield cluster
    cluster.kill()


@pytest.fixture
def patient(stack: ClusterStack) -> Iterator[Cluster]:
    """The same with more grace than any test takes."""
    cluster = stack.start_cluster(grace=LONG_GRACE)
    yield cluster
    cluster.kill()


@pytest.fixture
def gate(stack: ClusterStack) -> Gate:
    return Gate(stack)


@pytest.mark.parametrize("sign", POLITE)
def test_a_stopping_cluster_finishes_what_runs_within_the_grace_and_claims_no_more(
    stack: ClusterStack, patient: Cluster, gate: Gate, sign: signal.Signals
) -> None:
    running = gate.hold()
    waiting = stack.post("trouble.sleep", {"seconds": 0})

    patient.send(sign)
    # The supervisor tells the dispatcher last: when that has ended, the worker has been told, too.
    eventually(lambda: not patient.children("dispatcher"), PATIENCE, "the dispatcher's end", pause=0.05)
    gate.open()
    patient.wait_until_gone()

    assert patient.returncode == 0
    assert stack.wait(running, "succeeded")["attempt"] == 1
    assert stack.client().job(waiting["id"])["status"] == "queued"
    with_another(stack, waiting)


def test_what_does_not_finish_in_time_is_handed_back_and_keeps_its_attempt(
    stack: ClusterStack, cluster: Cluster, gate: Gate
) -> None:
    job = gate.hold(max_attempts=1)

    stop(cluster)

    handed_back = stack.client().job(job["id"])
    assert (handed_back["status"], handed_back["attempt"], handed_back["errors"]) == ("queued", 0, [])
    stack.client().post(f"jobs/{job['id']}/cancellation/", expect=200)


def test_the_next_cluster_finishes_what_was_handed_back_as_its_first_attempt(
    stack: ClusterStack, cluster: Cluster, gate: Gate
) -> None:
    job = gate.hold(max_attempts=1)

    stop(cluster)
    gate.open()

    assert with_another(stack, job)["attempt"] == 1
    assert len(stack.events("job_started", job_id=job["id"])) == 2


def test_a_handler_that_ignores_the_stop_is_killed(stack: ClusterStack, cluster: Cluster) -> None:
    job = stack.post("trouble.stuck", {"how": "in C"}, timeout=600)
    worker = stack.worker_of(job)

    stop(cluster)

    ended = [event["worker"].rpartition(":")[2] for event in cluster.events("worker_stopped")]
    assert str(worker) not in ended
    # If the handler had obeyed, the job would have been handed back; as it is, its lease has to expire.
    assert stack.client().job(job["id"])["status"] == "running"
    stack.cancel(job)


def test_a_second_request_to_stop_changes_nothing(stack: ClusterStack, patient: Cluster, gate: Gate) -> None:
    job = gate.hold()

    for _ in range(2):
        patient.send(signal.SIGTERM)
        eventually(lambda: patient.events("cluster_stopping"), PATIENCE, "the beginning of the stop")
    gate.open()
    patient.wait_until_gone()

    assert patient.returncode == 0
    assert stack.wait(job, "succeeded")["attempt"] == 1


def test_ctrl_c_reaches_all_processes_and_only_the_supervisor_acts(
    stack: ClusterStack, patient: Cluster, gate: Gate
) -> None:
    job = gate.hold()

    os.killpg(patient.pid, signal.SIGINT)
    eventually(lambda: patient.events("cluster_stopping"), PATIENCE, "the beginning of the stop")
    gate.open()
    patient.wait_until_gone()

    assert patient.returncode == 0
    assert stack.wait(job, "succeeded")["attempt"] == 1


def test_a_worker_that_is_stopped_alone_finishes_its_job_and_is_replaced(
    stack: ClusterStack, cluster: Cluster, gate: Gate
) -> None:
    job = gate.hold()
    worker = stack.worker_of(job)

    tell(worker, signal.SIGTERM)
    gate.open()

    assert stack.wait(job, "succeeded")["attempt"] == 1
    eventually(lambda: set(cluster.ready_workers()) - {worker}, PATIENCE, "another worker's start")
    assert stack.wait(stack.post("trouble.sleep", {"seconds": 0}), "succeeded")["attempt"] == 1


def test_stops_at_random_moments_never_hang(stack: ClusterStack) -> None:
    """Before and after it is up, idle and busy: django-q's own cluster dead-locked in 7 of 61 (django-q2#346)."""
    dice, stops = random.Random(SEED), STOPS_ON_SQLITE if stack.on_sqlite else STOPS
    jobs = [stack.post("trouble.sleep", {"seconds": dice.choice([0, 0.3, 3, 3])}) for _ in range(stops // 2)]
    moments = [dice.uniform(SOONEST, LATEST) for _ in range(stops)]
    since = [dice.choice(SINCE) for _ in range(stops)]
    clusters = [stack.add_cluster() for _ in range(stops)]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        ends = list(pool.map(start_and_stop, clusters, since, moments))

    assert max(seconds for seconds, _ in ends) < AT_MOST
    # The signal itself ends a program that has not yet installed its signal handlers: nothing had begun.
    assert {status for _, status in ends} <= {0, -signal.SIGTERM}
    assert [job for job in jobs if stack.client().job(job["id"])["status"] == "running"] == []
    stack.start_cluster(workers=8)
    for job in jobs:
        assert stack.wait(job, "succeeded")["attempt"] == 1


def start_and_stop(cluster: Cluster, since: str, moment: float) -> tuple[float, int | None]:
    """Start a cluster, and stop it `moment` seconds after `since`; returns the stop's seconds and exit status."""
    cluster.start()
    if since != "its start":
        eventually(lambda: cluster.events(since), PATIENCE, since, pause=0.05)
    then = time.monotonic() + moment
    eventually(lambda: time.monotonic() >= then, PATIENCE, "the moment to stop")
    cluster.send(signal.SIGTERM)
    begin = time.monotonic()
    cluster.wait_until_gone()
    return time.monotonic() - begin, cluster.returncode


def stop(cluster: Cluster) -> None:
    """Stop the cluster; it has to end in time, with status 0."""
    begin = time.monotonic()
    cluster.send(signal.SIGTERM)
    cluster.wait_until_gone()
    assert cluster.returncode == 0
    assert time.monotonic() - begin < AT_MOST


def with_another(stack: ClusterStack, job: Event) -> Event:
    """Let another cluster finish the job; returns the job."""
    another = stack.start_cluster()
    try:
        return stack.wait(job, "succeeded")
    finally:
        another.kill()
