"""PostgreSQL goes away under running jobs and idle workers, and comes back: nothing is lost and nobody has to help."""

from collections.abc import Iterator

import pytest

from demo.eventually import TooLateError, eventually
from tests.farm import Farm, seconds_between
from tests.servers.postgresql import PostgreSQL

AWAY = 10
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
    job = farm.post("trouble.sleep", {"seconds": 3})
    farm.worker_of(job)

    server.restart(mode)

    eventually(farm.ready, 20, "the web process's recovery")
    done = farm.wait(job, "succeeded")
    assert (done["attempt"], done["errors"]) == (1, [])


def test_the_outcome_of_a_job_that_ends_during_an_outage_is_written_after_it(farm: Farm, server: PostgreSQL) -> None:
    ends_meanwhile = farm.post("trouble.sleep", {"seconds": 2})
    ends_later = farm.post("trouble.sleep", {"seconds": AWAY + 3})
    for job in (ends_meanwhile, ends_later):
        farm.worker_of(job)

    server.stop("immediate")
    stay_away(farm, ends_meanwhile["id"])
    server.start()

    eventually(farm.ready, 20, "the web process's recovery")
    for job in (ends_meanwhile, ends_later):
        done = farm.wait(job, "succeeded")
        assert (done["attempt"], done["errors"]) == (1, [])


def test_after_an_outage_idle_workers_take_jobs_and_the_dispatcher_is_the_same(farm: Farm, server: PostgreSQL) -> None:
    [cluster] = farm.clusters
    before = cluster.members()

    server.restart("immediate")

    eventually(farm.ready, 20, "the web process's recovery")
    jobs = [farm.post("trouble.sleep", {"seconds": 0.2}) for _ in range(4 * WORKERS)]
    for job in jobs:
        done = farm.wait(job, "succeeded")
        assert done["attempt"] == 1
    assert seconds_between(jobs[0]["created_at"], done["started_at"]) < 10
    assert cluster.members() == before


def test_a_cluster_that_is_started_during_an_outage_waits_for_its_end(farm: Farm, server: PostgreSQL) -> None:
    server.stop("fast")
    late = farm.add_cluster()
    late.start()
    eventually(lambda: late.events("worker_cannot_claim"), 20, "a first try")
    server.start()

    eventually(farm.ready, 20, "the web process's recovery")
    farm.clusters[0].stop()
    assert farm.wait(farm.post("trouble.sleep", {"seconds": 0}), "succeeded")["attempt"] == 1


def stay_away(farm: Farm, job_id: str) -> None:
    """Until the outage has lasted its time, in which the job ended and its worker waited to say so."""
    with pytest.raises(TooLateError):
        eventually(lambda: False, AWAY, "the end of the outage")
    assert any(job_id in event["results_of"] for event in farm.events("job_outcome_waits_for_database"))
