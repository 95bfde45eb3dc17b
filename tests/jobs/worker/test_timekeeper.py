"""The thread that keeps the time of running handlers, whatever becomes of the database; and the signal to stop now."""

import contextlib
import math
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator

import pytest

from demo.eventually import eventually
from jobs.worker import timekeeper as timekeeper_module
from jobs.worker.attempts.buffer import WorkBuffer
from jobs.worker.attempts.interrupt import Interrupted, MainThread, TimedOut
from jobs.worker.attempts.running_attempts import RunningAttempts
from jobs.worker.heartbeat import Heartbeat
from jobs.worker.timekeeper import Timekeeper
from jobs.worker.watchdog import Watchdog
from tests.support.fakes import Ticking, make_attempted

SOON = LONG = 60
"""Seconds: what has not happened by then never will."""
ENDLESS = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.fixture
def watchdog() -> Watchdog:
    return Watchdog(slots=2)


@pytest.fixture
def running(watchdog: Watchdog) -> RunningAttempts:
    return RunningAttempts(watchdog)


@pytest.fixture
def stops() -> list[bool]:
    return []


@pytest.fixture
def timekeeper(
    monkeypatch: pytest.MonkeyPatch, running: RunningAttempts, watchdog: Watchdog, stops: list[bool]
) -> Iterator[Timekeeper]:
    monkeypatch.setattr(timekeeper_module, "CHECK_EVERY", 0.005)
    with keeping_time(Timekeeper(running, watchdog, lambda: stops.append(True))) as timekeeper:
        yield timekeeper


@contextlib.contextmanager
def keeping_time(timekeeper: Timekeeper) -> Iterator[Timekeeper]:
    before = {number: signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGUSR1, signal.SIGUSR2)}
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    timekeeper.start()
    try:
        yield timekeeper
    finally:
        timekeeper.stop()
        timekeeper.join(SOON)
        for number, handler in before.items():
            signal.signal(number, handler)
    assert not timekeeper.is_alive()
    assert signal.set_wakeup_fd(wakeup) == wakeup


def test_the_timekeeper_beats_again_and_again(timekeeper: Timekeeper, watchdog: Watchdog) -> None:
    eventually(lambda: watchdog.last_beat, SOON)
    first = watchdog.last_beat
    eventually(lambda: watchdog.last_beat > first, SOON)


def test_no_beat_comes_after_the_last_one(
    running: RunningAttempts, watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a process that ends slowly would be killed as one that stalls."""
    beat, beats, stopped = watchdog.beat, threading.Event(), threading.Event()

    def beat_late() -> None:
        beats.set()
        assert stopped.wait(SOON)
        beat()

    monkeypatch.setattr(watchdog, "beat", beat_late)
    with keeping_time(Timekeeper(running, watchdog, lambda: None)) as timekeeper:
        assert beats.wait(SOON)
        timekeeper.stop()
        stopped.set()
        timekeeper.join(SOON)
        assert watchdog.last_beat == math.inf


def test_every_running_attempt_has_its_time_kept(timekeeper: Timekeeper, running: RunningAttempts) -> None:
    first, second = Ticking(), Ticking()
    with running.attempt(make_attempted(), first, 0), running.attempt(make_attempted(), second, 1):
        eventually(lambda: min(first.due_checks, second.due_checks) >= 3, SOON)


def test_an_attempt_that_takes_too_long_is_interrupted(timekeeper: Timekeeper, running: RunningAttempts) -> None:
    main = MainThread()
    with pytest.raises(TimedOut), running.attempt(make_attempted(), main, 0):
        main.call(lambda: time.sleep(LONG), 0.05)


def test_an_attempt_that_is_being_interrupted_is_checked_more_often(
    running: RunningAttempts, watchdog: Watchdog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be in code that must not be interrupted: it is tried again before the next ordinary check."""
    monkeypatch.setattr(timekeeper_module, "CHECK_EVERY", LONG)
    main = MainThread()

    def swallow() -> None:
        with contextlib.suppress(Interrupted):
            os.kill(os.getpid(), signal.SIGUSR2)  # makes the timekeeper check now
            time.sleep(LONG)
        time.sleep(LONG)

    began = time.monotonic()
    with keeping_time(Timekeeper(running, watchdog, lambda: None)):
        signal.signal(signal.SIGUSR2, lambda number, frame: None)
        with pytest.raises(TimedOut), running.attempt(make_attempted(), main, 0):
            main.call(swallow, 0)
    assert time.monotonic() - began < LONG / 2


def test_time_is_kept_while_a_renewal_hangs(
    timekeeper: Timekeeper, running: RunningAttempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers, thread = threading.Event(), threading.Event(), Ticking()
    heartbeat = Heartbeat("here:1", running, WorkBuffer("here:1"))

    def hang() -> None:
        asked.set()
        assert answers.wait(SOON)

    monkeypatch.setattr(heartbeat, "_renew", hang)
    beat = threading.Thread(target=heartbeat._renew)
    with running.attempt(make_attempted(), thread, 0):
        beat.start()
        assert asked.wait(SOON)
        before = thread.due_checks
        eventually(lambda: thread.due_checks >= before + 3, SOON)
        answers.set()
        beat.join()


def test_the_signal_to_stop_now_is_heard_while_the_main_thread_is_in_c_code(
    running: RunningAttempts, watchdog: Watchdog
) -> None:
    """No signal handler runs there; what ends the C code here is the timekeeper's call."""
    with contextlib.closing(sqlite3.connect(":memory:", check_same_thread=False)) as endless:
        endless.set_progress_handler(None, 0)
        with keeping_time(Timekeeper(running, watchdog, endless.interrupt)):
            signal.signal(signal.SIGUSR1, lambda number, frame: None)
            signaller = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGUSR1])
            signaller.start()
            with pytest.raises(sqlite3.OperationalError, match="interrupted"):
                endless.execute(ENDLESS).fetchall()
            signaller.join()


def test_other_signals_stop_nothing(timekeeper: Timekeeper, stops: list[bool]) -> None:
    for number in (signal.SIGUSR2, signal.SIGALRM):
        signal.signal(number, lambda number, frame: None)
        signal.raise_signal(number)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    assert stops == []
    signal.raise_signal(signal.SIGUSR1)
    eventually(lambda: stops == [True], SOON)
