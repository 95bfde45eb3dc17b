"""A cluster that is asked to stop: it claims no more, finishes or hands back what runs, and is gone, with status 0."""

import os
import random
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from demo.eventually import eventually
from tests.farm import Cluster, Event, Farm, make_farm, on_both, tell

GRACE = 1
AT_MOST = GRACE + 5 + 3
"""Seconds: the grace, then the hard stop (jobs.cluster.HARD_STOP), and what a busy machine needs."""
STOPS, STOPS_ON_SQLITE = 50, 12
AT_ONCE = 4
SOONEST, LATEST = 0.0, 1.5
SEED = 346
POLITE = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture(scope="module", params=on_both("stops"))
def farm(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with make_farm(request.param, tmp_path_factory.mktemp("stops"), clusters=0, grace=GRACE) as farm:
        yield farm


@pytest.fixture
def cluster(farm: Farm) -> Iterator[Cluster]:
    """A cluster of its own for each test, with one worker."""
    cluster = farm.start_cluster()
    yield cluster
    cluster.stop()


@pytest.mark.parametrize("sign", POLITE)
def test_a_stopping_cluster_finishes_what_runs_within_the_grace_and_claims_no_more(
    farm: Farm, cluster: Cluster, sign: signal.Signals
) -> None:
    running = farm.post("trouble.sleep", {"seconds": 0.5})
    farm.worker_of(running)
    waiting = farm.post("trouble.sleep", {"seconds": 0})

    assert stop(cluster, sign) < GRACE + 1

    assert farm.wait(running, "succeeded")["attempt"] == 1
    assert farm.client().job(waiting["id"])["status"] == "queued"
    with_another(farm, waiting)


@pytest.mark.parametrize("sign", POLITE)
def test_what_does_not_finish_in_time_is_handed_back_and_keeps_its_attempt(
    farm: Farm, cluster: Cluster, sign: signal.Signals
) -> None:
    job = farm.post("trouble.sleep", {"seconds": 0, "first_seconds": 60}, max_attempts=1)
    farm.worker_of(job)

    stop(cluster, sign)

    handed_back = farm.client().job(job["id"])
    assert (handed_back["status"], handed_back["attempt"], handed_back["errors"]) == ("queued", 0, [])
    farm.client().post(f"jobs/{job['id']}/cancellation/", expect=200)


def test_the_next_cluster_finishes_what_was_handed_back_as_its_first_attempt(farm: Farm, cluster: Cluster) -> None:
    job = farm.post("trouble.sleep", {"seconds": 2 * GRACE}, max_attempts=1)
    farm.worker_of(job)

    stop(cluster)

    assert with_another(farm, job)["attempt"] == 1
    assert len(farm.events("job_started", job_id=job["id"])) == 2


def test_a_handler_that_ignores_the_stop_is_killed(farm: Farm, cluster: Cluster) -> None:
    job = farm.post("trouble.stuck", {"how": "in C"}, timeout=60)
    farm.worker_of(job)

    assert stop(cluster) < AT_MOST
    farm.cancel(job)


def test_being_asked_twice_is_being_asked_once(farm: Farm, cluster: Cluster) -> None:
    job = farm.post("trouble.sleep", {"seconds": 0.5})
    farm.worker_of(job)

    cluster.send(signal.SIGTERM)
    eventually(lambda: cluster.events("cluster_stopping"), 5, "the beginning of the stop")
    stop(cluster)

    assert farm.wait(job, "succeeded")["attempt"] == 1


def test_ctrl_c_reaches_all_processes_and_the_guard_alone_decides(farm: Farm, cluster: Cluster) -> None:
    job = farm.post("trouble.sleep", {"seconds": 0.5})
    farm.worker_of(job)

    os.killpg(cluster.pid, signal.SIGINT)
    cluster.wait_until_gone(AT_MOST)

    assert cluster.returncode == 0
    assert farm.wait(job, "succeeded")["attempt"] == 1


def test_a_worker_that_is_stopped_alone_finishes_its_job_and_is_replaced(farm: Farm, cluster: Cluster) -> None:
    job = farm.post("trouble.sleep", {"seconds": 0.5})
    worker = farm.worker_of(job)

    tell(worker, signal.SIGTERM)

    assert farm.wait(job, "succeeded")["attempt"] == 1
    eventually(lambda: set(cluster.ready_workers()) - {worker}, 10, "another worker's start")
    assert farm.wait(farm.post("trouble.sleep", {"seconds": 0}), "succeeded")["attempt"] == 1


def test_fifty_stops_at_random_moments_never_hang(farm: Farm) -> None:
    """Before and after it is up, idle and busy: django-q's own cluster dead-locked in 7 of 61 (django-q2#346)."""
    dice, stops = random.Random(SEED), STOPS_ON_SQLITE if farm.on_sqlite else STOPS
    jobs = [farm.post("trouble.sleep", {"seconds": dice.choice([0, 0.3, 3, 3])}) for _ in range(stops // 2)]
    moments = [dice.uniform(SOONEST, LATEST) for _ in range(stops)]
    since = [dice.choice(["its start", "cluster_started"]) for _ in range(stops)]
    clusters = [farm.add_cluster() for _ in range(stops)]

    with ThreadPoolExecutor(AT_ONCE) as pool:
        ends = list(pool.map(start_and_stop, clusters, since, moments))

    assert max(seconds for seconds, _ in ends) < AT_MOST
    # Before Python has come to our handlers, the signal itself ends a program in which nothing has begun.
    assert {status for _, status in ends} <= {0, -signal.SIGTERM}
    assert [job for job in jobs if farm.client().job(job["id"])["status"] == "running"] == []
    farm.start_cluster(workers=8)
    for job in jobs:
        assert farm.wait(job, "succeeded", within=40)["attempt"] == 1


def start_and_stop(cluster: Cluster, since: str, moment: float) -> tuple[float, int | None]:
    """Stops it so many seconds after that; seconds that the stop took, and the exit status."""
    cluster.start()
    if since != "its start":
        eventually(lambda: cluster.events(since), 30, since)
    then = time.monotonic() + moment
    eventually(lambda: time.monotonic() >= then, 10, "the moment to stop")
    cluster.send(signal.SIGTERM)
    begin = time.monotonic()
    cluster.wait_until_gone(2 * AT_MOST)
    return time.monotonic() - begin, cluster.returncode


def stop(cluster: Cluster, sign: signal.Signals = signal.SIGTERM) -> float:
    """Asks the cluster to stop, and checks how it did; seconds that it took."""
    begin = time.monotonic()
    cluster.send(sign)
    cluster.wait_until_gone(AT_MOST)
    assert cluster.returncode == 0
    return time.monotonic() - begin


def with_another(farm: Farm, job: Event) -> Event:
    """The job as another cluster has finished it."""
    another = farm.start_cluster()
    try:
        return farm.wait(job, "succeeded")
    finally:
        another.stop()
