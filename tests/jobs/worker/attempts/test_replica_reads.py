"""Where handlers read: with reads="replica" from a replica that has replayed their claim, else from the primary.

No replica runs here: each test says which ones there are and what they have replayed. A real one is in
tests/system/replicas/test_report.py.
"""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import OperationalError, connections, router, transaction

from jobs.errors import JobError
from jobs.models import Job
from jobs.models.states import Status
from jobs.registry import Kind
from jobs.run import Run
from jobs.submit import submit_many
from jobs.worker.attempts import replica_reads
from jobs.worker.worker import Worker
from routers import PRIMARY, pool, route
from tests.support.claims import due_jobs
from tests.support.factories import make_kind
from tests.support.standalone_worker import run, time_kept

pytest_plugins = ["tests.support.worker_fixtures"]
# A test in a transaction would read nothing but the primary.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def seen() -> list[str]:
    """What the handlers of this test have read from, in their order."""
    return []


@pytest.fixture(autouse=True)
def _replicas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "replayed", {"replica1": 0, "replica2": 0})
    monkeypatch.setattr(replica_reads, "MAX_WAIT", 0.05)
    knowing(monkeypatch, {"replica1", "replica2"})


def knowing(monkeypatch: pytest.MonkeyPatch, aliases: set[str]) -> None:
    """From here on these replicas have replayed every claim, and no other has."""
    monkeypatch.setattr(replica_reads, "_has_caught_up", lambda alias, job: alias in aliases)


def make_reader(monkeypatch: pytest.MonkeyPatch, handler: Callable[[Run], object], where: str = "replica") -> Kind:
    return make_kind(monkeypatch, handler, reads=where)


def source() -> str:
    return str(router.db_for_read(Job))


@pytest.mark.parametrize("where", ["primary", "replica"])
def test_a_kind_says_where_it_reads(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, seen: list[str], where: str
) -> None:
    make_reader(monkeypatch, lambda run: seen.append(source()), where)
    assert run(worker)["status"] == Status.SUCCEEDED
    [read] = seen
    assert (read == PRIMARY) is (where == "primary")
    assert source() == PRIMARY


def test_a_handler_reads_from_the_replica_that_has_replayed_its_claim(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    knowing(monkeypatch, {"replica2"})
    make_reader(monkeypatch, lambda run: seen.append(source()))
    for _ in range(10):
        run(worker)
    assert seen == ["replica2"] * 10


def test_a_handler_waits_for_a_replica_to_replay_its_claim(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    asked: list[str] = []

    def knows(alias: str, job: Job) -> bool:
        asked.append(alias)
        return len(asked) > 3

    monkeypatch.setattr(replica_reads, "MAX_WAIT", 1000)
    monkeypatch.setattr(replica_reads, "_has_caught_up", knows)
    make_reader(monkeypatch, lambda run: seen.append(source()))
    run(worker)
    assert seen == asked[-1:]
    assert len(asked) == 4


def test_a_handler_reads_from_the_primary_if_no_replica_replays_its_claim(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    knowing(monkeypatch, set())
    make_reader(monkeypatch, lambda run: seen.append(source()))
    assert run(worker)["status"] == Status.SUCCEEDED
    assert seen == [PRIMARY]


def test_without_replicas_nobody_waits(worker: Worker, monkeypatch: pytest.MonkeyPatch, seen: list[str]) -> None:
    monkeypatch.setattr(pool, "replayed", {})
    monkeypatch.setattr(replica_reads, "MAX_WAIT", 1000)
    make_reader(monkeypatch, lambda run: seen.append(source()))
    run(worker)
    assert seen == [PRIMARY]


def test_waiting_for_a_replica_ends_at_the_timeout_of_the_job(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    knowing(monkeypatch, set())
    monkeypatch.setattr(replica_reads, "MAX_WAIT", 1000)
    make_reader(monkeypatch, lambda run: None)
    with time_kept(worker):
        found = run(worker, timeout=1)
    assert found["errors"][-1]["type"] == "TimedOut"
    assert source() == PRIMARY


def test_progress_and_files_are_written_to_the_primary_and_leave_the_reads_where_they_are(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, seen: list[str], settings: Any, tmp_path: Any
) -> None:
    settings.MEDIA_ROOT = tmp_path

    def handler(run: Run) -> None:
        for percent in (1, 2):
            run.progress(percent)
            seen.append(source())
        with run.text_output("a.txt") as file:
            file.write("a")
        seen.append(source())

    make_reader(monkeypatch, handler)
    assert run(worker)["status"] == Status.SUCCEEDED
    assert PRIMARY not in seen
    assert len(set(seen)) == 1


def test_what_the_handler_writes_it_also_reads(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    def handler(run: Run) -> None:
        Job.objects.filter(pk=run.job_id).update(priority=1)
        seen.append(source())

    make_reader(monkeypatch, handler)
    run(worker)
    assert seen == [PRIMARY]


def test_many_jobs_that_a_handler_submits_are_stored_on_the_primary(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    def handler(run: Run) -> None:
        submit_many("demo.countdown", [{"seconds": 0}, {"seconds": 1}])
        seen.append(source())

    make_reader(monkeypatch, handler)
    assert run(worker)["status"] == Status.SUCCEEDED
    assert due_jobs().count() == 2
    assert seen == [PRIMARY]


def test_inside_a_transaction_on_the_primary_it_reads_there(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    def handler(run: Run) -> None:
        with transaction.atomic():
            seen.append(source())

    make_reader(monkeypatch, handler)
    run(worker)
    assert seen == [PRIMARY]


def test_a_replica_that_is_ejected_during_a_job_is_replaced_by_the_primary_only(
    worker: Worker, monkeypatch: pytest.MonkeyPatch, seen: list[str]
) -> None:
    """Another replica may not have replayed what this one had."""

    def handler(run: Run) -> None:
        pool.eject(source())
        seen.append(source())

    make_reader(monkeypatch, handler)
    run(worker)
    assert seen == [PRIMARY]


def test_whatever_a_handler_does_the_worker_goes_on_with_the_primary(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def handler(run: Run) -> None:
        raise JobError("no luck")

    make_reader(monkeypatch, handler)
    assert run(worker)["status"] == Status.RETRYING
    assert (route().may_use_replicas, source()) == (False, PRIMARY)


def test_jobs_in_threads_have_a_replica_each(worker: Worker, monkeypatch: pytest.MonkeyPatch, seen: list[str]) -> None:
    monkeypatch.setattr(pool, "replayed", {f"replica{number}": 0 for number in range(50)})
    monkeypatch.setattr(replica_reads, "_has_caught_up", lambda alias, job: True)
    together = threading.Barrier(5)

    def handler() -> str:
        together.wait(60)
        return source()

    def read() -> None:
        with replica_reads.route_reads("replica", Job(), handler) as call:
            seen.append(call())

    threads = [threading.Thread(target=read) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(seen)) > 1
    assert source() == PRIMARY


def test_the_probe_is_started_by_the_first_job_that_wants_a_replica(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    monkeypatch.setattr(pool, "ensure_probed", lambda: looked.append("looked"))
    for where, watched in (("primary", []), ("replica", ["looked"])):
        with monkeypatch.context() as while_it_is_known:
            make_reader(while_it_is_known, lambda run: None, where)
            run(worker)
        assert looked == watched


class Replica:
    """Stands in for a connection: it fails, or gives the primary's."""

    def __init__(self) -> None:
        self.closed = False

    def close_if_unusable_or_obsolete(self) -> None:
        raise OperationalError("the server has gone")

    def close(self) -> None:
        self.closed = True


def test_a_replica_that_fails_when_it_is_asked_is_put_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    gone = Replica()
    monkeypatch.setattr(pool, "replayed", {"gone": 0})
    monkeypatch.setattr(connections._connections, "gone", gone, raising=False)
    assert replica_reads.caught_up_replica(Job()) == PRIMARY
    assert gone.closed
    assert pool.replayed == {}
