"""The threads that jobs of I/O-bound kinds run in: none is lost, whatever happens in it."""

import threading
from collections.abc import Callable

import pytest
from django.db import InterfaceError

from demo.eventually import eventually
from jobs.models import Job
from jobs.worker import thread_pools as threads_module
from tests.make import make_kind
from tests.patience import PATIENCE


@pytest.fixture(autouse=True)
def _kind(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, threads=2)


def run_one(threads: Threads) -> None:
    """A job from its start to its end."""
    threads.start(Job(kind="test.kind"))
    eventually(lambda: not threads.busy, PATIENCE, "the end of the job")


@pytest.mark.parametrize("error", [ValueError("a bug"), InterfaceError("away"), SystemExit(1), MemoryError()])
def test_a_job_that_fails_in_our_own_code_leaves_its_thread_to_the_next(error: BaseException) -> None:
    ran: list[int] = []

    def execute(job: Job) -> None:
        ran.append(threading.get_ident())
        if len(ran) == 1:
            raise error

    threads = Threads(execute)
    for _ in range(3):
        run_one(threads)
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
        monkeypatch.setattr(threads_module, "TRUSTED", -1)
        monkeypatch.setattr(threads_module, "close_old_connections", fail_once(threads_module.close_old_connections))
    else:
        monkeypatch.setattr(threads_module, "IDLE", 0.01)
        monkeypatch.setattr(threads_module.connections, "close_all", fail_once(threads_module.connections.close_all))
    threads = Threads(lambda job: ran.append(True))
    run_one(threads)
    assert failed.wait(PATIENCE)
    run_one(threads)
    run_one(threads)
    assert ran[1:]
    assert threads.free("test.kind") == 2
