"""Jobs beside each other in one process: whatever one of them does, the other keeps its only attempt."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg2
import pytest

from demo.eventually import eventually
from jobs.models.queue.leases import LEASE
from tests.support.cluster_stack import (
    PATIENCE,
    ClusterStack,
    Event,
    Gate,
    kill,
    make_cluster_stack,
    seconds_between,
    suspend,
)

HOLD, STUCK, QUERY = "trouble.hold_in_thread", "trouble.stuck_in_thread", "trouble.query_in_thread"
ONCE = {"max_attempts": 1}
HOLDS_THE_GIL = ["in a system call with the GIL", "in a backtracking pattern"]
OF_THIS_STACK = "FROM pg_stat_activity WHERE datname = current_database()"
"""The server of this test run has the databases of other tests as well."""

pytestmark = pytest.mark.xdist_group("neighbours")


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterStack]:
    with make_cluster_stack("postgresql", tmp_path_factory.mktemp("neighbours"), workers=1, io_workers=1) as stack:
        yield stack


@pytest.fixture
def neighbour(stack: ClusterStack) -> Iterator[Event]:
    """A job with one attempt that runs in the I/O worker during the test, and has to succeed in that attempt."""
    stack.clusters[0].wait_until_up(2)
    gate = Gate(stack, HOLD)
    job = gate.hold(timeout=900, **ONCE)
    yield job
    gate.open()
    done = stack.wait(job, "succeeded")
    assert (done["attempt"], done["errors"]) == (1, [])


def rows(stack: ClusterStack, query: str, *values: object) -> list[Any]:
    with closing(psycopg2.connect(stack.env["DATABASE_URL"])) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(query, values)
            return list(cursor.fetchall()) if cursor.description else []


def lease_of(stack: ClusterStack, job: Event) -> Any:
    [[expires_at]] = rows(stack, "SELECT lease_expires_at FROM jobs_job WHERE id = %s", job["id"])
    return expires_at


def test_progress_in_a_transaction_is_shown_and_delays_neither_renewals_nor_a_cancellation(
    stack: ClusterStack, neighbour: Event
) -> None:
    job = Gate(stack, "trouble.progress_in_transaction").hold(timeout=900, **ONCE)
    eventually(lambda: stack.client().job(job["id"])["progress"]["percent"] == 50, PATIENCE, "its progress")

    for renewed in (job, neighbour):
        before = lease_of(stack, renewed)
        eventually(lambda renewed=renewed, before=before: lease_of(stack, renewed) > before, PATIENCE, "a renewal")
    stack.cancel(job)

    stack.wait(job, "cancelled")


@pytest.mark.parametrize("kind", ["trouble.query", QUERY])
@pytest.mark.parametrize("why", ["its time is over", "it is cancelled"])
def test_a_handler_that_waits_for_the_database_is_interrupted_and_its_process_lives(
    stack: ClusterStack, neighbour: Event, kind: str, why: str
) -> None:
    job = stack.post(kind, timeout=1 if why == "its time is over" else 900, **ONCE)
    worker = stack.worker_of(job)
    if why == "it is cancelled":
        stack.cancel(job)

    done = stack.wait(job, "failed" if why == "its time is over" else "cancelled")

    assert [error["type"] for error in done["errors"]] == (["TimedOut"] if why == "its time is over" else [])
    assert worker in stack.clusters[0].members()
    still_queried = f"SELECT 1 {OF_THIS_STACK} AND query LIKE 'SELECT pg_sleep%%' AND state = 'active'"
    eventually(lambda: not rows(stack, still_queried), PATIENCE, "the end of the statement in the server")


@pytest.mark.parametrize("how", HOLDS_THE_GIL)
@pytest.mark.parametrize("timeout", [2, 900])
def test_a_thread_that_holds_the_gil_is_timed_out_with_its_process_and_no_neighbour_loses_an_attempt(
    stack: ClusterStack, neighbour: Event, how: str, timeout: int
) -> None:
    job = stack.post(STUCK, {"how": how}, timeout=timeout, **ONCE)
    worker = stack.worker_of(job)

    done = stack.wait(job, "failed")

    assert [error["type"] for error in done["errors"]] == ["TimedOut"]
    assert worker not in stack.clusters[0].members()
    assert seconds_between(done["started_at"], done["finished_at"]) < LEASE.total_seconds()


def test_a_thread_that_is_stuck_in_c_is_timed_out_with_its_process_and_no_neighbour_loses_an_attempt(
    stack: ClusterStack, neighbour: Event
) -> None:
    job = stack.post(STUCK, {"how": "in C"}, timeout=1, **ONCE)

    assert [error["type"] for error in stack.wait(job, "failed")["errors"]] == ["TimedOut"]


def test_a_killed_process_costs_the_jobs_that_it_had_started_an_attempt(stack: ClusterStack) -> None:
    stack.clusters[0].wait_until_up(2)
    gate = Gate(stack, HOLD)
    job = gate.hold(timeout=900)

    kill(stack.worker_of(job))
    gate.open()

    done = stack.wait(job, "succeeded")
    assert [error["type"] for error in done["errors"]] == ["WorkerLost"]


def test_a_suspended_process_is_replaced_and_its_job_is_lost_and_not_timed_out(stack: ClusterStack) -> None:
    stack.clusters[0].wait_until_up(2)
    gate = Gate(stack, HOLD)
    job = gate.hold(timeout=900)

    suspend(stack.worker_of(job))
    gate.open()

    done = stack.wait(job, "succeeded")
    assert [error["type"] for error in done["errors"]] == ["WorkerLost"]


def test_a_busy_worker_reads_its_notifications(stack: ClusterStack, neighbour: Event) -> None:
    """Unread ones would fill the sockets, and then the server's queue, whose oldest entry holds back VACUUM."""
    gate = Gate(stack)
    job = gate.hold()
    for _ in range(40):
        rows(stack, "SELECT pg_notify('legwork_jobs', n || repeat('x', 7900)) FROM generate_series(1, 100) AS n")

    eventually(lambda: rows(stack, "SELECT pg_notification_queue_usage()") == [(0.0,)], PATIENCE, "an empty queue")

    waiting = f"SELECT 1 {OF_THIS_STACK} AND query LIKE 'LISTEN%%' AND wait_event <> 'ClientRead'"
    eventually(lambda: not rows(stack, waiting), PATIENCE, "the end of all writing to listeners")
    gate.open()
    stack.wait(job, "succeeded")


def test_workers_and_their_jobs_survive_cuts_of_all_their_connections(stack: ClusterStack, neighbour: Event) -> None:
    gate = Gate(stack, "trouble.report")
    job = gate.hold(**ONCE)
    workers = stack.clusters[0].ready_workers()
    for _ in range(3):
        rows(stack, f"SELECT pg_terminate_backend(pid) {OF_THIS_STACK} AND pid <> pg_backend_pid()")
        shown = stack.client().job(job["id"])["progress"]["message"]
        eventually(
            lambda shown=shown: stack.client().job(job["id"])["progress"]["message"] != shown, PATIENCE, "more progress"
        )
    gate.open()

    assert stack.wait(job, "succeeded")["errors"] == []
    assert stack.wait(stack.post("trouble.sleep", {"seconds": 0}), "succeeded")["attempt"] == 1
    assert stack.clusters[0].ready_workers() == workers


def test_an_idle_worker_survives_a_cut_of_its_listening_connection(stack: ClusterStack, neighbour: Event) -> None:
    workers = stack.clusters[0].ready_workers()
    cut = f"SELECT pg_terminate_backend(pid) {OF_THIS_STACK} AND query LIKE 'LISTEN%%'"
    listening = f"SELECT pid {OF_THIS_STACK} AND query LIKE 'LISTEN%%'"
    before = eventually(lambda: rows(stack, listening), PATIENCE, "a listener")
    rows(stack, cut)

    eventually(lambda: set(rows(stack, listening)) - set(before), PATIENCE, "a listener with a new connection")

    assert stack.wait(stack.post("trouble.sleep", {"seconds": 0}), "succeeded")["attempt"] == 1
    assert stack.clusters[0].ready_workers() == workers


def test_jobs_in_threads_run_while_every_other_worker_is_busy(stack: ClusterStack, neighbour: Event) -> None:
    gate = Gate(stack)
    long = gate.hold(timeout=3600)
    for _ in range(3):
        quick = Gate(stack, HOLD)
        quick.open()
        stack.wait(quick.post(), "succeeded")
    assert stack.client().job(long["id"])["status"] == "running"
    gate.open()
    stack.wait(long, "succeeded")
