"""The attempts that a process runs now: who sees them, and who may still interrupt them."""

import time

import pytest

from jobs.worker.attempts.interrupt import Cancelled, Stopped
from jobs.worker.attempts.running_attempts import RunningAttempt, RunningAttempts
from jobs.worker.watchdog import STUCK_AFTER, Watchdog
from tests.support.fakes import Remembering, make_attempted

MOMENT = 60
"""Seconds that a machine may lose between two lines."""


@pytest.fixture
def watchdog() -> Watchdog:
    return Watchdog(slots=3)


@pytest.fixture
def running(watchdog: Watchdog) -> RunningAttempts:
    return RunningAttempts(watchdog)


def test_an_attempt_runs_until_the_end_of_its_block(running: RunningAttempts, watchdog: Watchdog) -> None:
    job = make_attempted()
    with running.attempt(job, Remembering(), 1):
        assert [attempt.job for attempt in running] == [job]
        assert [started.job_id for started in watchdog.started()] == [job.pk]
    assert list(running) == watchdog.started() == []


def test_an_attempt_that_fails_does_not_count_as_running(running: RunningAttempts, watchdog: Watchdog) -> None:
    with pytest.raises(ZeroDivisionError), running.attempt(make_attempted(), Remembering(), 0):
        1 / 0  # noqa: B018
    assert list(running) == watchdog.started() == []


def test_an_attempt_is_stuck_when_it_ignores_its_timeout_for_a_while(
    running: RunningAttempts, watchdog: Watchdog
) -> None:
    with running.attempt(make_attempted(timeout=1000), Remembering(), 0):
        assert 0 <= time.monotonic() + 1000 + STUCK_AFTER - watchdog.started()[0].deadline < MOMENT


def test_an_interrupted_attempt_is_stuck_a_while_after_its_first_interruption(
    running: RunningAttempts, watchdog: Watchdog
) -> None:
    thread, reason = Remembering(), Cancelled("x")
    with running.attempt(make_attempted(timeout=1000), thread, 0):
        [attempt] = running
        running.interrupt(attempt, reason)
        deadline = watchdog.started()[0].deadline
        assert deadline <= time.monotonic() + STUCK_AFTER
        running.interrupt(attempt, reason)
        assert watchdog.started()[0].deadline == deadline
    assert thread.reasons == [reason, reason]


def test_an_interruption_that_comes_too_late_for_its_attempt_does_not_hit_the_next_in_its_thread(
    running: RunningAttempts, watchdog: Watchdog
) -> None:
    thread = Remembering()
    with running.attempt(make_attempted(), thread, 0):
        [over] = running
    with running.attempt(make_attempted(timeout=1000), thread, 0):
        running.interrupt(over, Cancelled("too late"))
        assert watchdog.started()[0].deadline > time.monotonic() + 1000 - MOMENT
    assert thread.reasons == []


def test_all_attempts_can_be_interrupted_at_once(running: RunningAttempts) -> None:
    threads, reason = [Remembering(), Remembering()], Stopped("x")
    with running.attempt(make_attempted(), threads[0], 0), running.attempt(make_attempted(), threads[1], 2):
        running.interrupt_all(reason)
    assert [thread.reasons for thread in threads] == [[reason], [reason]]


def test_attempts_may_begin_and_end_while_somebody_looks_at_them(running: RunningAttempts) -> None:
    with running.attempt(make_attempted(), Remembering(), 0):
        looking = iter(running)
        with running.attempt(make_attempted(), Remembering(), 1):
            assert isinstance(next(looking), RunningAttempt)
    assert list(looking) == []
