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
from tests.chaos import invariants, ledger
from tests.support.brokers import make_cluster_stack_on, on_each
from tests.support.cluster_stack import PATIENCE, PAUSE, ClusterStack, kill, suspend, tell

WORKERS = 2
BATCH = 60
"""Jobs that are posted before each kill."""
KILLS = 8
BETWEEN_KILLS = 30
"""How many jobs have to end before the next kill."""
HALF = KILLS // 2
GRACE = 1
SEED = 2
DRAINED_WITHIN = 3 * PATIENCE

STARTS_WITHOUT_A_REASON = """
    SELECT job, count(*) FROM chaos_effect WHERE what = 'start' GROUP BY job
    HAVING count(*) > 1
        + (SELECT jsonb_array_length(errors) FROM jobs_job WHERE id = job)
        + (SELECT count(*) FROM chaos_transition AS handed_back
           WHERE handed_back.job = chaos_effect.job AND old = 'running' AND new = 'queued')
"""
"""Jobs with more extra starts than attempts that were recorded as lost or handed back."""


@dataclass
class Load:
    """A stack under load: the accepted jobs, and the workers that were killed."""

    stack: ClusterStack
    connection: Any
    dice: random.Random = field(default_factory=lambda: random.Random(SEED))
    accepted: set[str] = field(default_factory=set)
    killed: list[int] = field(default_factory=list)

    def rows(self, query: str) -> list[Any]:
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else []

    def count(self, query: str) -> int:
        return int(self.rows(f"SELECT count(*) FROM {query}")[0][0])  # noqa: S608 the queries are ours


@pytest.fixture(scope="module", params=on_each(["postgresql", "redis"], "two_clusters"))
def load(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """The load after its end: every job has ended."""
    folder = tmp_path_factory.mktemp(f"load-{request.param}")
    with (
        make_cluster_stack_on(request.param, request, folder, clusters=2, workers=WORKERS, grace=GRACE) as stack,
        closing(psycopg2.connect(stack.env["DATABASE_URL"])) as connection,
    ):
        connection.autocommit = True
        load = Load(stack, connection)
        load.rows(ledger.INSTALL)
        for number in range(KILLS):
            if number == HALF:
                post_some(load)
                stop_and_start_one(load)
            kill_somebody(load)
        eventually(lambda: ended(load) == len(load.accepted), DRAINED_WITHIN, "the end of all jobs", pause=PAUSE)
        yield load


def test_no_job_starts_twice_without_a_recorded_lost_attempt(load: Load) -> None:
    assert load.rows(STARTS_WITHOUT_A_REASON) == []
    assert load.rows(invariants.BROKEN["was started more often than attempts at it have ended"]) == []


def test_every_job_has_succeeded_exactly_once(load: Load) -> None:
    assert {job for (job,) in load.rows("SELECT id::text FROM jobs_job")} == load.accepted
    broken = {what: load.rows(query) for what, query in invariants.BROKEN.items()}
    assert broken == {what: [] for what in invariants.BROKEN}


def test_the_load_lost_and_handed_back_jobs_on_both_clusters(load: Load) -> None:
    """Both clusters worked, jobs were lost with their workers and handed back, and so some started twice.

    Not every kill loses a job: its end may have been on its way to the database when its worker was stopped."""
    assert len(load.killed) == KILLS
    assert all(cluster.events("job_started") for cluster in load.stack.clusters)
    assert load.count("jobs_job, jsonb_array_elements(errors) AS error WHERE error ->> 'type' = 'WorkerLost'") >= HALF
    assert load.count("chaos_transition WHERE old = 'running' AND new = 'queued'") > 0
    assert load.count("(SELECT FROM chaos_effect WHERE what = 'start' GROUP BY job HAVING count(*) > 1) AS twice") > 0


def post_some(load: Load) -> None:
    """Mostly jobs that do nothing, and some that sleep; all with attempts enough to survive every kill."""
    jobs = [{**some_job(load.dice), "max_attempts": 2 * KILLS} for _ in range(BATCH)]
    answer = load.stack.client().post("jobs/batch/", {"jobs": jobs}, expect=202).json()
    load.accepted |= {item["id"] for item in answer["results"]}


def some_job(dice: random.Random) -> dict[str, Any]:
    if dice.random() < 0.5:
        return {"kind": "chaos.instant", "params": {}}
    return {"kind": "chaos.sleep", "params": {"seconds": dice.uniform(0.01, 0.2)}}


def kill_somebody(load: Load) -> None:
    """Kill a worker that is running a job, once BETWEEN_KILLS more jobs have ended."""
    enough = ended(load) + BETWEEN_KILLS
    post_some(load)
    eventually(lambda: ended(load) >= enough, DRAINED_WITHIN, f"the end of {enough} jobs", pause=PAUSE)
    load.killed.append(eventually(lambda: killed_at_work(load), PATIENCE, "a worker at work"))


def killed_at_work(load: Load) -> int | None:
    """Suspend a worker, and kill it if it is still running a job: the one that it was seen running may have ended."""
    if ended(load) == len(load.accepted):
        post_some(load)
    if not (workers := busy(load)):
        return None
    worker = load.dice.choice(workers)
    suspend(worker)
    if worker not in busy(load):
        tell(worker, signal.SIGCONT)
        return None
    kill(worker)
    return worker


def busy(load: Load) -> list[int]:
    alive = {process for cluster in load.stack.clusters for process in cluster.members()}
    names = load.rows("SELECT DISTINCT worker FROM jobs_job WHERE status = 'running' ORDER BY worker")
    return [process for (name,) in names if (process := int(name.rpartition(":")[2])) in alive]


def stop_and_start_one(load: Load) -> None:
    """As a deployment does it: jobs that a cluster does not finish in time are handed back."""
    stack, gate = load.stack, load.stack.logs / "gate"
    for cluster in stack.clusters:
        cluster.wait_until_up(WORKERS)
    job = stack.post("chaos.hold", {"gate": str(gate)}, priority=1, max_attempts=2 * KILLS)
    load.accepted.add(job["id"])
    worker = stack.worker_of(job)
    cluster = next(cluster for cluster in stack.clusters if worker in cluster.members())
    cluster.send(signal.SIGTERM)
    cluster.wait_until_gone()
    gate.touch()
    cluster.start()
    cluster.wait_until_up(WORKERS)


def ended(load: Load) -> int:
    return load.count("jobs_job WHERE finished_at IS NOT NULL")
