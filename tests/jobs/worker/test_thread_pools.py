"""The threads that jobs of I/O-bound kinds run in: none is lost, whatever happens in it."""

import threading
import time
from collections.abc import Callable

import pytest
from django.db import InterfaceError

from demo.eventually import eventually
from jobs.models import Job
from jobs.registry import kinds
from jobs.worker import thread_pools as pools_module
from jobs.worker.prefetch import ThreadPrefetch
from jobs.worker.thread_pools import ThreadPools, total_threads
from tests.support.factories import make_kind
from tests.support.timeouts import PATIENCE


@pytest.fixture(autouse=True)
def _kind(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, threads=2)
    monkeypatch.setattr(ThreadPrefetch, "limit", lambda self, kind: 0)


def run_one(pools: ThreadPools) -> None:
    """Start one job, and wait for its end."""
    pools.start(Job(kind="test.kind"))
    eventually(lambda: not pools.busy, PATIENCE, "the end of the job")


def test_only_kinds_with_threads_have_free_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, name="test.other")
    free = ThreadPools(lambda job, slot: None).free()
    assert free["test.kind"] == 2
    assert free == {kind.name: kind.threads for kind in kinds() if kind.threads}
    assert total_threads() == sum(free.values())


def test_a_kind_whose_threads_are_all_busy_is_not_free_until_one_of_them_is() -> None:
    gates = [threading.Event(), threading.Event()]
    slots: list[int] = []

    def execute(job: Job, slot: int) -> None:
        slots.append(slot)
        gates[slot].wait(PATIENCE)

    pools = ThreadPools(execute)
    pools.start(Job(kind="test.kind"))
    assert (pools.busy, pools.free()["test.kind"]) == (True, 1)
    pools.start(Job(kind="test.kind"))
    assert "test.kind" not in pools.free()
    eventually(lambda: len(slots) == 2, PATIENCE, "a job in each thread")
    gates[1].set()
    eventually(lambda: pools.free().get("test.kind") == 1, PATIENCE)
    pools.start(Job(kind="test.kind"))
    eventually(lambda: len(slots) == 3, PATIENCE)
    assert slots[2] == 1  # the slot of the free thread
    gates[0].set()
    eventually(lambda: not pools.busy, PATIENCE)
    assert sorted(slots[:2]) == [0, 1]


def test_waiting_ends_as_soon_as_a_job_has_ended() -> None:
    gate = threading.Event()
    pools = ThreadPools(lambda job, slot: gate.wait(PATIENCE))
    began = time.monotonic()
    pools.wait(PATIENCE)  # returns at once: no job runs
    pools.start(Job(kind="test.kind"))
    opener = threading.Timer(0.05, gate.set)
    opener.start()
    pools.wait(PATIENCE)
    opener.join()
    assert not pools.busy
    assert time.monotonic() - began < PATIENCE / 2


@pytest.mark.parametrize("error", [ValueError("a bug"), InterfaceError("away"), SystemExit(1), MemoryError()])
def test_a_job_that_fails_in_our_own_code_leaves_its_thread_to_the_next(error: BaseException) -> None:
    ran: list[int] = []

    def execute(job: Job, slot: int) -> None:
        ran.append(threading.get_ident())
        if len(ran) == 1:
            raise error

    pools = ThreadPools(execute)
    for _ in range(3):
        run_one(pools)
    assert ran == ran[:1] * 3


@pytest.mark.parametrize("when", ["before a job", "while there is none"])
def test_a_connection_that_cannot_even_be_closed_does_not_end_its_thread(
    monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    failed, ran = threading.Event(), []

    def fail_once(otherwise: Callable[[], None]) -> Callable[[], None]:
        def close() -> None:
            if failed.is_set():
                return otherwise()
            failed.set()
            raise InterfaceError("closed already")

        return close

    if when == "before a job":
        monkeypatch.setattr(pools_module, "TRUST_CONNECTION_FOR", -1)
        monkeypatch.setattr(pools_module, "close_old_connections", fail_once(pools_module.close_old_connections))
    else:
        monkeypatch.setattr(pools_module, "CLOSE_AFTER_IDLE", 0.01)
        monkeypatch.setattr(pools_module.connections, "close_all", fail_once(pools_module.connections.close_all))
    pools = ThreadPools(lambda job, slot: ran.append(True))
    run_one(pools)
    assert failed.wait(PATIENCE)
    run_one(pools)
    run_one(pools)
    assert ran[1:]
    assert pools.free()["test.kind"] == 2


def test_jobs_beyond_the_threads_wait_for_one_and_start_in_their_order() -> None:
    gates = {name: threading.Event() for name in "abcd"}
    begun: list[str] = []

    def execute(job: Job, slot: int, name: str) -> None:
        begun.append(name)
        gates[name].wait(PATIENCE)

    pools = ThreadPools(execute)
    jobs = {name: Job(kind="test.kind") for name in gates}
    for name, job in jobs.items():
        pools.start(job, name)
    assert pools.waiting_jobs() == [jobs["c"], jobs["d"]]
    eventually(lambda: sorted(begun) == ["a", "b"], PATIENCE, "a job in each thread")
    gates["b"].set()
    eventually(lambda: begun[2:] == ["c"], PATIENCE, "the first that waited")
    assert pools.waiting_jobs() == [jobs["d"]]
    assert "test.kind" not in pools.free()
    for gate in gates.values():
        gate.set()
    eventually(lambda: not pools.busy, PATIENCE, "the end of all")
    assert begun[3:] == ["d"]
    assert pools.free()["test.kind"] == 2


def test_a_job_that_waits_starts_even_if_the_one_before_it_fails_in_our_own_code() -> None:
    gate, begun = threading.Event(), []

    def execute(job: Job, slot: int, name: str) -> None:
        gate.wait(PATIENCE)
        begun.append(name)
        raise InterfaceError("away")

    pools = ThreadPools(execute)
    for name in "abc":
        pools.start(Job(kind="test.kind"), name)
    gate.set()
    eventually(lambda: not pools.busy, PATIENCE, "the end of all")
    assert sorted(begun) == ["a", "b", "c"]


def test_jobs_that_wait_can_be_taken_back() -> None:
    gate, begun = threading.Event(), []

    def execute(job: Job, slot: int, name: str) -> None:
        begun.append(name)
        gate.wait(PATIENCE)

    pools = ThreadPools(execute)
    jobs = {name: Job(kind="test.kind") for name in "abcd"}
    for name, job in jobs.items():
        pools.start(job, name)
    assert pools.take_back(lambda name: name != "d") == [jobs["c"]]
    gate.set()
    eventually(lambda: not pools.busy, PATIENCE, "the end of all")
    assert sorted(begun) == ["a", "b", "d"]
