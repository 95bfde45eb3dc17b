"""PostgreSQL goes away under running jobs and idle workers, and comes back: nothing is lost and nobody has to help."""

from collections.abc import Iterator

import pytest

from demo.eventually import eventually
from jobs.models.leases import LEASE
from tests.support.cluster_stack import PATIENCE, PAUSE, Farm, Gate, seconds_between
from tests.support.servers.postgresql import PostgreSQL

WORKERS = 3

pytestmark = pytest.mark.xdist_group("outages")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    with PostgreSQL(durable=True) as server:
        yield server


@pytest.fixture(scope="module")
def farm(server: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Farm]:
    with Farm(server.create_database("outages"), tmp_path_factory.mktemp("outages"), workers=WORKERS) as farm:
        yield farm


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_a_running_job_survives_a_restart_of_the_database_in_its_first_attempt(
    farm: Farm, server: PostgreSQL, mode: str
) -> None:
    gate = Gate(farm)
    job = gate.hold()

    server.restart(mode)

    recover(farm)
    gate.open()
    done = farm.wait(job, "succeeded")
    assert (done["attempt"], done["errors"]) == (1, [])


def test_the_outcome_of_a_job_that_ends_during_an_outage_is_written_after_it(farm: Farm, server: PostgreSQL) -> None:
    soon, later = Gate(farm), Gate(farm)
    ends_meanwhile, ends_later = soon.hold(), later.hold()

    server.stop("immediate")
    soon.open()
    wait_for_log(farm, "job_outcome_waits_for_database", ends_meanwhile["id"])
    wait_for_log(farm, "heartbeat_failed", ends_later["id"])
    server.start()

    recover(farm)
    later.open()
    for job in (ends_meanwhile, ends_later):
        done = farm.wait(job, "succeeded")
        assert (done["attempt"], done["errors"]) == (1, [])


def test_after_an_outage_idle_workers_take_jobs_and_the_dispatcher_is_the_same(farm: Farm, server: PostgreSQL) -> None:
    [cluster] = farm.clusters
    before = set(cluster.members())

    server.restart("immediate")

    recover(farm)
    jobs = [farm.post("trouble.sleep", {"seconds": 0.2}) for _ in range(4 * WORKERS)]
    for job in jobs:
        done = farm.wait(job, "succeeded")
        assert done["attempt"] == 1
    assert seconds_between(jobs[0]["created_at"], done["started_at"]) < LEASE.total_seconds()
    assert set(cluster.members()) == before


def test_a_cluster_that_is_started_during_an_outage_waits_for_its_end(farm: Farm, server: PostgreSQL) -> None:
    server.stop("fast")
    late = farm.add_cluster()
    late.start()
    eventually(lambda: late.events("worker_cannot_claim"), PATIENCE, "a first try", pause=PAUSE)
    server.start()

    recover(farm)
    farm.clusters[0].stop()
    assert farm.wait(farm.post("trouble.sleep", {"seconds": 0}), "succeeded")["attempt"] == 1


def recover(farm: Farm) -> None:
    eventually(farm.ready, PATIENCE, "the web process's recovery")


def wait_for_log(farm: Farm, event: str, job_id: str) -> None:
    """Until somebody has said this about the job."""
    eventually(
        lambda: any(
            job_id in {line.get("job_id"), *line.get("running", []), *line.get("results_of", [])}
            for line in farm.events(event)
        ),
        PATIENCE,
        f"{event} for {job_id}",
        pause=PAUSE,
    )
