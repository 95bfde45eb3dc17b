"""Two clusters on one queue under load, while workers are killed and a cluster is stopped: no start goes unexplained.

The ledger (tests/chaos/ledger.py) is the database's own: handlers note each start at once and for good, and a trigger
notes each departure from `running`, whatever the queue says of itself.
"""

import random
import signal
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import psycopg2
import pytest

from demo.eventually import eventually
from tests.brokers import make_farm_on, on_each
from tests.chaos import ledger, verdict
from tests.farm import Farm, kill

WORKERS = 2
JOBS = 600
BATCH = 100
KILLS = 8
FIRST_KILL, BETWEEN_KILLS = 40, 50
"""How many jobs have ended before the first kill, and between two."""
HALF = KILLS // 2
GRACE, LONGER_THAN_THAT = 1, 3
"""Seconds that a stopping cluster waits for its jobs, and of a job that is handed back therefore."""
SEED = 2
DRAINED_WITHIN = 90

STARTS_WITHOUT_A_REASON = """
    SELECT job, count(*) FROM chaos_effect WHERE what = 'start' GROUP BY job
    HAVING count(*) > 1
        + (SELECT jsonb_array_length(errors) FROM jobs_job WHERE id = job)
        + (SELECT count(*) FROM chaos_transition AS handed_back
           WHERE handed_back.job = chaos_effect.job AND old = 'running' AND new = 'queued')
"""
"""Jobs that were started more than once without a lost attempt on their row, or one that was handed back, for each."""


@dataclass
class Load:
    """What was done to a farm, and what is left of it."""

    farm: Farm
    accepted: set[str] = field(default_factory=set)
    killed: list[int] = field(default_factory=list)

    def rows(self, query: str) -> list[Any]:
        with closing(psycopg2.connect(self.farm.env["DATABASE_URL"])) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else connection.commit() or []

    def count(self, query: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {query}")[0][0])  # noqa: S608 the queries are ours


@pytest.fixture(scope="module", params=on_each(["postgresql", "redis"], "two_clusters"))
def load(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """After it: every job has ended."""
    folder, dice = tmp_path_factory.mktemp(f"load-{request.param}"), random.Random(SEED)
    with make_farm_on(request.param, request, folder, clusters=2, workers=WORKERS, grace=GRACE) as farm:
        load = Load(farm)
        load.rows(ledger.INSTALL)
        post_all(load, dice)
        for number in range(KILLS):
            if number == HALF:
                stop_and_start_one(load)
            kill_somebody(load, FIRST_KILL + number * BETWEEN_KILLS, dice)
        eventually(lambda: ended(load) == len(load.accepted), DRAINED_WITHIN, "the end of all jobs")
        yield load


def test_no_job_starts_twice_without_a_recorded_lost_attempt(load: Load) -> None:
    assert load.rows(STARTS_WITHOUT_A_REASON) == []
    assert load.rows(verdict.BROKEN["was started more often than attempts at it have ended"]) == []


def test_every_job_has_ended_once_and_well(load: Load) -> None:
    assert {job for (job,) in load.rows("SELECT id::text FROM jobs_job")} == load.accepted
    assert {what: load.rows(query) for what, query in verdict.BROKEN.items()} == {what: [] for what in verdict.BROKEN}


def test_the_load_was_what_it_is_called(load: Load) -> None:
    """Both clusters worked, jobs were lost with their workers and handed back, and so some started twice.

    Not every kill loses a job: a worker may have finished between the look at it and its death."""
    assert len(load.killed) == KILLS
    assert all(cluster.events("job_started") for cluster in load.farm.clusters)
    assert load.count("jobs_job, jsonb_array_elements(errors) AS error WHERE error ->> 'type' = 'WorkerLost'") >= HALF
    assert load.count("chaos_transition WHERE old = 'running' AND new = 'queued'") > 0
    assert load.count("(SELECT FROM chaos_effect WHERE what = 'start' GROUP BY job HAVING count(*) > 1) AS twice") > 0


def post_all(load: Load, dice: random.Random) -> None:
    """Mostly jobs that do nothing, and some that sleep; all with attempts enough to survive every kill."""
    for _ in range(JOBS // BATCH):
        jobs = [{**some_job(dice), "max_attempts": 2 * KILLS} for _ in range(BATCH)]
        answer = load.farm.client().post("jobs/batch/", {"jobs": jobs}, expect=202).json()
        load.accepted |= {item["id"] for item in answer["results"]}


def some_job(dice: random.Random) -> dict[str, Any]:
    if dice.random() < 0.5:
        return {"kind": "chaos.instant", "params": {}}
    return {"kind": "chaos.sleep", "params": {"seconds": dice.uniform(0.01, 0.2)}}


def kill_somebody(load: Load, when: int, dice: random.Random) -> None:
    """A worker that is running something, once so many jobs have ended."""
    eventually(lambda: ended(load) >= when, DRAINED_WITHIN, f"the end of {when} jobs")
    worker = eventually(lambda: dice.choice(busy(load) or [0]), 20, "a busy worker")
    kill(worker)
    load.killed.append(worker)


def busy(load: Load) -> list[int]:
    names = load.rows("SELECT DISTINCT worker FROM jobs_job WHERE status = 'running'")
    return [process for (name,) in names if (process := int(name.rpartition(":")[2])) not in load.killed]


def stop_and_start_one(load: Load) -> None:
    """As a deployment does it: what a cluster does not finish in time goes back."""
    farm = load.farm
    for cluster in farm.clusters:
        cluster.wait_until_up(WORKERS)
    job = farm.post("chaos.sleep", {"seconds": LONGER_THAN_THAT}, priority=1, max_attempts=2 * KILLS)
    load.accepted.add(job["id"])
    worker = farm.worker_of(job)
    cluster = next(cluster for cluster in farm.clusters if worker in cluster.members())
    cluster.send(signal.SIGTERM)
    cluster.wait_until_gone()
    cluster.start()
    cluster.wait_until_up(WORKERS)


def ended(load: Load) -> int:
    return load.count("jobs_job WHERE finished_at IS NOT NULL")
