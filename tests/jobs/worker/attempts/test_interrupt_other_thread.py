"""Stopping a handler that runs in a thread of its own, by an exception raised there from another thread."""

import contextlib
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace

import pytest

from demo.eventually import eventually
from demo.stack import ROOT
from jobs.worker.attempts import interrupt
from jobs.worker.attempts.interrupt import Abandoned, Cancelled, Interrupted, OtherThread, TimedOut
from tests.jobs.worker.attempts.test_interrupt import LONG, compute, spin
from tests.support.fakes import checking_timeouts

SOON = 30
"""Seconds: what has not happened by then never will."""

TRACED = """
    import os, sys, threading
    from jobs.worker.attempts.interrupt import OtherThread

    def work():
        OtherThread().call(lambda: 42, 30)
        sys.settrace(lambda *event: None)
        (lambda: 42)()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    print("hangs" if thread.is_alive() else "goes on", flush=True)
    os._exit(0)
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "REPEAT_AFTER", 0.02)


@pytest.mark.parametrize("work", [spin, compute])
def test_a_thread_is_interrupted_when_its_time_is_over(
    monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]
) -> None:
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(interrupt, "time", clock)
    thread = OtherThread()
    with in_a_thread(lambda: thread.call(work, 10)) as ended:
        eventually(lambda: thread._thread, SOON, "the beginning of the call")
        clock.now = 9.9
        thread.interrupt_if_due()
        assert not thread.interrupting
        clock.now = 10.0
        thread.interrupt_if_due()
        assert isinstance(thread._reason, TimedOut)
        clock.now = 20.0
        with checking_timeouts(thread):
            eventually(lambda: ended, SOON)
    assert isinstance(ended[0], TimedOut)


@pytest.mark.parametrize("work", [spin, compute])
def test_another_thread_is_interrupted_for_the_first_reason_given(work: Callable[[], None]) -> None:
    thread, reason = OtherThread(), Cancelled("first")
    with in_a_thread(lambda: thread.call(work, LONG)) as ended:
        eventually(lambda: thread._thread, SOON, "the beginning of the call")
        thread.interrupt(reason)
        thread.interrupt(Abandoned("second"))
        with checking_timeouts(thread):
            eventually(lambda: ended, SOON)
    assert ended == [reason]


def test_another_thread_that_swallows_its_interruption_is_interrupted_again() -> None:
    thread, swallowed = OtherThread(), []

    def stubborn() -> None:
        for _ in range(2):
            try:
                spin()
            except Interrupted:
                swallowed.append(True)
        spin()

    with in_a_thread(lambda: thread.call(stubborn, 0)) as ended, checking_timeouts(thread):
        eventually(lambda: ended, SOON)
    assert len(swallowed) == 2
    assert isinstance(ended[0], TimedOut)


def test_another_thread_that_waits_in_c_code_is_woken_to_meet_its_interruption() -> None:
    thread, reason = OtherThread(), Cancelled("now")
    ours, theirs = socket.socketpair()

    def receive() -> None:
        with thread.on_interruption(partial(ours.shutdown, socket.SHUT_RDWR)):
            waiting.set()
            ours.recv(1)

    waiting = threading.Event()
    with ours, theirs, in_a_thread(lambda: thread.call(receive, LONG)) as ended:
        assert waiting.wait(SOON)
        thread.interrupt(reason)
        eventually(lambda: ended, SOON)
    assert ended == [reason]


def test_the_result_of_a_handler_that_was_woken_is_replaced_by_its_interruption() -> None:
    """The handler may return before the exception is set in its thread; here it always does."""
    thread, reason = OtherThread(), Cancelled("now")
    waiting, cut_off = threading.Event(), threading.Event()

    def wake() -> None:
        cut_off.set()
        eventually(lambda: ended, SOON)

    def receive() -> str:
        with thread.on_interruption(wake):
            waiting.set()
            assert cut_off.wait(SOON)
        return "half an answer"

    with in_a_thread(lambda: thread.call(receive, LONG)) as ended:
        assert waiting.wait(SOON)
        thread.interrupt(reason)
    assert ended == [reason]


def test_a_wake_up_that_fails_stops_no_other_and_none_is_called_after_its_block() -> None:
    thread, woken, over = OtherThread(), [], threading.Event()

    def work() -> None:
        with thread.on_interruption(lambda: woken.append("too late")):
            pass
        with thread.on_interruption(lambda: 1 / 0), thread.on_interruption(over.set):
            over.wait(SOON)

    with in_a_thread(lambda: thread.call(work, LONG)) as ended:
        eventually(lambda: len(thread._wakes) == 2, SOON)
        thread.interrupt(Cancelled("now"))
        eventually(lambda: ended, SOON)
    assert isinstance(ended[0], Cancelled)
    assert woken == []


def test_another_threads_result_and_errors_come_through() -> None:
    assert OtherThread().call(lambda: 42, LONG) == 42
    with pytest.raises(ZeroDivisionError):
        OtherThread().call(lambda: 1 / 0, LONG)


def test_another_thread_that_is_done_is_left_alone() -> None:
    thread = OtherThread()
    thread.interrupt(Cancelled("too early"))
    assert thread.call(lambda: 42, 0) == 42
    thread.interrupt(Cancelled("too late"))
    thread.interrupt_if_due()
    assert not thread.interrupting
    for _ in range(1000):
        pass


def test_a_call_in_another_thread_leaves_no_pending_signal_behind() -> None:
    """With a tracer (coverage, a debugger), CPython 3.11 hangs for good on a pending signal that is never handled."""
    command = [sys.executable, "-c", textwrap.dedent(TRACED)]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=180).stdout == "goes on\n"


@contextlib.contextmanager
def in_a_thread(call: Callable[[], object]) -> Iterator[list[object]]:
    """Runs the call in a thread; its result or its exception is appended to the list when it ends."""
    ended: list[object] = []

    def run() -> None:
        try:
            ended.append(call())
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield ended
    thread.join()
