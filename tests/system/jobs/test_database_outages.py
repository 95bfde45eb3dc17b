"""PostgreSQL goes away under running jobs and idle workers, and comes back: nothing is lost and nobody has to help."""

from collections.abc import Iterator

import pytest

from demo.eventually import eventually
from jobs.models.queue.leases import LEASE
from tests.support.cluster_stack import PATIENCE, PAUSE, ClusterStack, Gate, seconds_between
from tests.support.servers.postgresql import PostgreSQL

WORKERS = 3

pytestmark = pytest.mark.xdist_group("outages")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with PostgreSQL(durable=True) as server:
        yield server


@pytest.fixture(scope="module")
def stack(server: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterStack]:
    with ClusterStack(server.create_database("outages"), tmp_path_factory.mktemp("outages"), workers=WORKERS) as stack:
        yield stack


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_a_running_job_survives_a_restart_of_the_database_in_its_first_attempt(
    stack: ClusterStack, server: PostgreSQL, mode: str
) -> None:
    gate = Gate(stack)
    job = gate.hold()

    server.restart(mode)

    recover(stack)
    gate.open()
    done = stack.wait(job, "succeeded")
    assert (done["attempt"], done["errors"]) == (1, [])


def test_the_outcome_of_a_job_that_ends_during_an_outage_is_written_after_it(
    stack: ClusterStack, server: PostgreSQL
) -> None:
    soon, later = Gate(stack), Gate(stack)
    ends_meanwhile, ends_later = soon.hold(), later.hold()

    server.stop("immediate")
    soon.open()
    wait_for_log(stack, "job_outcome_waits_for_database", ends_meanwhile["id"])
    wait_for_log(stack, "heartbeat_failed", ends_later["id"])
    server.start()

    recover(stack)
    later.open()
    for job in (ends_meanwhile, ends_later):
        done = stack.wait(job, "succeeded")
        assert (done["attempt"], done["errors"]) == (1, [])


def test_after_an_outage_idle_workers_take_jobs_and_the_dispatcher_is_the_same(
    stack: ClusterStack, server: PostgreSQL
) -> None:
    [cluster] = stack.clusters
    before = set(cluster.members())

    server.restart("immediate")

    recover(stack)
    jobs = [stack.post("trouble.sleep", {"seconds": 0.2}) for _ in range(4 * WORKERS)]
    for job in jobs:
        done = stack.wait(job, "succeeded")
        assert done["attempt"] == 1
    assert seconds_between(jobs[0]["created_at"], done["started_at"]) < LEASE.total_seconds()
    assert set(cluster.members()) == before


def test_a_cluster_that_is_started_during_an_outage_waits_for_its_end(stack: ClusterStack, server: PostgreSQL) -> None:
    server.stop("fast")
    late = stack.add_cluster()
    late.start()
    eventually(lambda: late.events("worker_cannot_claim"), PATIENCE, "a first try", pause=PAUSE)
    server.start()

    recover(stack)
    stack.clusters[0].stop()
    assert stack.wait(stack.post("trouble.sleep", {"seconds": 0}), "succeeded")["attempt"] == 1


def recover(stack: ClusterStack) -> None:
    eventually(stack.ready, PATIENCE, "the web process's recovery")


def wait_for_log(stack: ClusterStack, event: str, job_id: str) -> None:
    """Wait until a process has logged this event about the job."""
    eventually(
        lambda: any(
            job_id in {line.get("job_id"), *line.get("running", []), *line.get("results_of", [])}
            for line in stack.events(event)
        ),
        PATIENCE,
        f"{event} for {job_id}",
        pause=PAUSE,
    )
