"""PostgreSQL goes away under running jobs and idle workers, and comes back: nothing is lost and nobody has to help."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.eventually import eventually
from jobs.models.queue.leases import LEASE
from tests.support.cluster_stack import PATIENCE, PAUSE, ClusterStack, Gate, seconds_between
from tests.support.servers.postgresql import PostgreSQL

WORKERS = 3
OUTAGE = 12.0
"""Seconds."""
MANY = 20
"""Requests that an outage must have met."""

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
    wait_for_outages(stack, {stack.worker_of(job) for job in (ends_meanwhile, ends_later)})
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


def test_an_outage_under_load_is_two_lines_in_each_process_and_no_traceback(
    stack: ClusterStack, server: PostgreSQL
) -> None:
    gate = Gate(stack)
    jobs = [gate.hold() for _ in range(WORKERS)]
    client, web = stack.client(), stack.web
    before, web_before = stack.clusters[0].log.stat().st_size, web.log.stat().st_size

    server.stop("immediate")
    stopped = time.monotonic()
    refused = 0
    while time.monotonic() - stopped < OUTAGE:
        refused += client.post("jobs/", {"kind": "demo.countdown", "params": {"seconds": 0}}).status_code == 503
    server.start()
    recover(stack)
    gate.open()
    for job in jobs:
        assert stack.wait(job, "succeeded")["attempt"] == 1

    assert refused > MANY
    for log, size in ((stack.clusters[0].log, before), (web.log, web_before)):
        eventually(lambda log=log, size=size: is_over(text_since(log, size)), PATIENCE, "each process's outage's end")
        text = text_since(log, size)
        assert "Traceback" not in text
        assert "Service Unavailable" not in text
        lines = as_json(text)
        assert set(outage_lines(text).values()) == {1}
        assert {line["event"] for line in lines if line["level"] in ("warning", "error")} == {
            "outage_began",
            "outage_ended",
        }
        assert sum(line["errors"] for line in lines if line["event"] == "outage_ended") > MANY


def test_a_cluster_that_is_started_during_an_outage_waits_for_its_end(stack: ClusterStack, server: PostgreSQL) -> None:
    server.stop("fast")
    late = stack.add_cluster()
    late.start()
    eventually(lambda: late.events("outage_began"), PATIENCE, "a first try", pause=PAUSE)
    server.start()

    recover(stack)
    stack.clusters[0].stop()
    assert stack.wait(stack.post("trouble.sleep", {"seconds": 0}), "succeeded")["attempt"] == 1


def recover(stack: ClusterStack) -> None:
    eventually(stack.ready, PATIENCE, "the web process's recovery")


def wait_for_outages(stack: ClusterStack, workers: set[int]) -> None:
    """Wait until each of these processes has noticed that the database is away."""
    eventually(
        lambda: workers <= {event["process"] for event in stack.events("outage_began")},
        PATIENCE,
        "the workers' outage",
        pause=PAUSE,
    )


def text_since(log: Path, size: int) -> str:
    """What was written to the log after it had this size."""
    return log.read_bytes()[size:].decode()


def as_json(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def outage_lines(text: str) -> Counter[tuple[int, str]]:
    """How many lines about outages there are, by process and event."""
    lines = as_json(text)
    return Counter((line["process"], line["event"]) for line in lines if line["event"].startswith("outage_"))


def is_over(text: str) -> bool:
    """True if each process whose outage began has logged its end."""
    found = outage_lines(text)
    began = {process for process, event in found if event == "outage_began"}
    return bool(began) and began == {process for process, event in found if event == "outage_ended"}
