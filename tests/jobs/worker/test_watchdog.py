"""The shared memory in which a worker process says what it runs, by when, and that Python code still runs in it."""

import math
import threading
import time
from multiprocessing import get_context
from uuid import UUID, uuid4

import pytest

from jobs.worker import watchdog as watchdog_module
from jobs.worker.watchdog import Watchdog
from tests.support.fakes import Clock

FIRST, SECOND = UUID(int=1), uuid4()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(watchdog_module, "time", clock)
    return clock


def test_nothing_runs_and_nothing_beats_at_first() -> None:
    watchdog = Watchdog(3)
    assert (watchdog.started(), watchdog.overdue(math.inf), watchdog.last_beat) == ([], [], 0)


def test_a_slot_says_which_job_its_thread_runs_and_until_when(clock: Clock) -> None:
    watchdog = Watchdog(2)
    watchdog.start(1, SECOND, 60)
    [started] = watchdog.started()
    assert (started.job_id, started.thread, started.deadline) == (SECOND, threading.get_native_id(), clock.now + 60)


def test_slots_are_independent_of_each_other(clock: Clock) -> None:
    watchdog = Watchdog(2)
    watchdog.start(0, FIRST, 60)
    watchdog.start(1, SECOND, 30)
    assert [started.job_id for started in watchdog.started()] == [FIRST, SECOND]
    watchdog.finish(0)
    assert [started.job_id for started in watchdog.started()] == [SECOND]


def test_a_job_is_overdue_after_its_deadline_until_it_has_finished(clock: Clock) -> None:
    watchdog = Watchdog(2)
    watchdog.start(0, FIRST, 60)
    watchdog.start(1, SECOND, 30)
    assert watchdog.overdue(clock.now + 30) == []
    assert [job.job_id for job in watchdog.overdue(clock.now + 31)] == [SECOND]
    assert [job.job_id for job in watchdog.overdue(clock.now + 61)] == [FIRST, SECOND]
    watchdog.finish(1)
    assert [job.job_id for job in watchdog.overdue(clock.now + 61)] == [FIRST]


def test_a_deadline_can_be_moved_forward_and_not_back(clock: Clock) -> None:
    watchdog = Watchdog()
    watchdog.start(0, FIRST, 60)
    watchdog.set_deadline(0, 3)
    watchdog.set_deadline(0, 10)
    assert watchdog.started()[0].deadline == clock.now + 3


def test_the_next_job_of_a_slot_has_a_deadline_of_its_own(clock: Clock) -> None:
    watchdog = Watchdog()
    watchdog.start(0, FIRST, 1)
    watchdog.finish(0)
    watchdog.start(0, SECOND, 60)
    assert [(job.job_id, job.deadline) for job in watchdog.started()] == [(SECOND, clock.now + 60)]


def test_a_beat_is_stored_as_its_time_and_the_last_one_as_infinity(clock: Clock) -> None:
    watchdog = Watchdog()
    watchdog.beat()
    assert watchdog.last_beat == clock.now
    clock.now += 1
    watchdog.beat()
    assert watchdog.last_beat == clock.now
    watchdog.stop_beating()
    assert watchdog.last_beat == math.inf


def test_the_next_process_begins_with_nothing() -> None:
    watchdog = Watchdog(2)
    watchdog.start(1, FIRST, 60)
    watchdog.beat()
    watchdog.reset()
    assert (watchdog.started(), watchdog.last_beat) == ([], 0)


def test_what_a_process_wrote_can_be_read_after_it_was_killed() -> None:
    def work() -> None:
        watchdog.start(1, SECOND, 60)
        watchdog.beat()
        written.set()
        time.sleep(600)

    context = get_context("fork")
    watchdog, written = Watchdog(2), context.Event()
    process = context.Process(target=work)
    process.start()
    try:
        assert written.wait(60)
    finally:
        process.kill()
        process.join()
    [started] = watchdog.started()
    assert (started.job_id, started.thread) == (SECOND, process.pid)
    assert watchdog.last_beat > 0
