"""Stopping a handler from outside: for real, with signals, in this process's main thread.

Interruptions are repeated much sooner here than in a worker, so that nothing takes long.
"""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import pytest

from demo.eventually import eventually
from demo.stack import ROOT
from jobs.worker.attempts import interrupt
from jobs.worker.attempts.interrupt import Abandoned, Cancelled, Interrupted, MainThread, Stopped, TimedOut
from tests.support.fakes import checking_timeouts

LONG = 60
ENOUGH = 50

STRESS = f"""
    import random, signal, sys, threading, time
    from jobs.worker.attempts import interrupt
    from jobs.worker.attempts.interrupt import Cancelled, Interrupted, MainThread, OtherThread

    interrupt.REPEAT_AFTER = interrupt.RETRY_AFTER = 0.001
    sys.setswitchinterval(1e-5)
    main, over, outcomes = MainThread(), threading.Event(), [0, 0]
    signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.signal(signal.SIGUSR1, lambda number, frame: main.stop())

    def disturb():
        while not over.is_set():
            if sys.argv[1] == "by a signal":
                signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
            else:
                main.interrupt(Cancelled("now"))
            time.sleep(random.random() / 5_000)

    disturber = threading.Thread(target=disturb)
    disturber.start()
    late = time.monotonic() + 120
    while min(outcomes) < {ENOUGH} and time.monotonic() < late:
        if sys.argv[1] == "by a signal":
            main = MainThread()  # a stop is for good
        elif sys.argv[1] == "as another thread":
            main = OtherThread()
        try:
            main.call(lambda: sum(range(50)), {LONG})
        except Interrupted:
            outcomes[1] += 1
        else:
            outcomes[0] += 1
    over.set()
    disturber.join()
    until = time.monotonic() + 10 * interrupt.REPEAT_AFTER
    while time.monotonic() < until:
        pass
    print(*outcomes)
"""


@pytest.fixture(autouse=True)
def _signals_as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    assert threading.current_thread() is threading.main_thread()
    monkeypatch.setattr(interrupt, "REPEAT_AFTER", 0.02)
    before = {number: signal.getsignal(number) for number in (signal.SIGALRM, signal.SIGUSR1)}
    signal.signal(signal.SIGALRM, lambda number, frame: None)  # by default it would end the test run
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def main() -> Iterator[MainThread]:
    main = MainThread()
    with checking_timeouts(main):
        yield main


def sleep() -> None:
    time.sleep(LONG)


def spin() -> None:
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        pass


def compute() -> None:
    for number in range(10**9):
        _ = number * number


def wait_for_a_lock() -> None:
    lock = threading.Lock()
    lock.acquire()
    lock.acquire(timeout=LONG)


WORK = [sleep, spin, compute, wait_for_a_lock]


def test_the_result_of_a_function_that_ends_in_time_comes_back(main: MainThread) -> None:
    assert main.call(lambda: 42, LONG) == 42


def test_the_functions_own_exception_comes_through(main: MainThread) -> None:
    with pytest.raises(ZeroDivisionError):
        main.call(lambda: 1 / 0, LONG)


@pytest.mark.parametrize("work", WORK)
def test_work_that_takes_longer_than_its_timeout_is_interrupted(main: MainThread, work: Callable[[], None]) -> None:
    began = time.monotonic()
    with pytest.raises(TimedOut):
        main.call(work, 0.05)
    assert 0.05 <= time.monotonic() - began < LONG / 2


@pytest.mark.parametrize("work", WORK)
@pytest.mark.parametrize("reason", [Cancelled("x"), Abandoned("x")])
def test_work_is_interrupted_from_another_thread_for_the_reason_given(
    main: MainThread, work: Callable[[], None], reason: Interrupted
) -> None:
    with soon(main, lambda: main.interrupt(reason)), pytest.raises(type(reason)) as raised:
        main.call(work, LONG)
    assert raised.value is reason


def test_the_first_reason_counts(main: MainThread) -> None:
    def twice() -> None:
        main.interrupt(Cancelled("first"))
        main.interrupt(Abandoned("second"))

    with soon(main, twice), pytest.raises(Cancelled, match="first"):
        main.call(persistent(2), LONG)


@pytest.mark.parametrize("times", [1, 3])
def test_a_handler_that_swallows_its_interruption_is_interrupted_again(main: MainThread, times: int) -> None:
    with pytest.raises(TimedOut):
        main.call(persistent(times), 0.02)
    with soon(main, lambda: main.interrupt(Cancelled("x"))), pytest.raises(Cancelled):
        main.call(persistent(times), LONG)


def test_a_handler_may_clean_up_before_it_gives_in(main: MainThread, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupt, "REPEAT_AFTER", LONG)
    working, cleaned = threading.Event(), []

    def tidy() -> None:
        try:
            working.set()
            sleep()
        finally:
            cleaned.append(True)

    with soon(main, lambda: main.interrupt(Cancelled("x")), working), pytest.raises(Cancelled):
        main.call(tidy, LONG)
    assert cleaned


def test_an_interruption_is_not_swallowed_by_a_handler_that_catches_every_exception(main: MainThread) -> None:
    def careful() -> str:
        with contextlib.suppress(Exception):
            sleep()
        return "went on"

    with pytest.raises(TimedOut):
        main.call(careful, 0.02)


def test_the_result_of_a_handler_that_swallowed_its_interruption_is_dropped(
    main: MainThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interrupt, "REPEAT_AFTER", LONG)
    working = threading.Event()

    def stubborn() -> str:
        with contextlib.suppress(BaseException):
            working.set()
            sleep()
        return "done anyway"

    with soon(main, lambda: main.interrupt(Cancelled("x")), working), pytest.raises(Cancelled):
        main.call(stubborn, LONG)
    assert_nothing_is_raised_late()


def test_an_interruption_while_nothing_runs_does_not_reach_what_comes_next(main: MainThread) -> None:
    main.interrupt(Cancelled("too late"))
    assert_nothing_is_raised_late()
    assert main.call(lambda: "next", LONG) == "next"


def test_what_follows_an_interrupted_call_is_left_alone(main: MainThread) -> None:
    with pytest.raises(TimedOut):
        main.call(sleep, 0.02)
    assert_nothing_is_raised_late()
    assert main.call(lambda: "next", LONG) == "next"


def test_stop_ends_what_runs_and_refuses_what_comes(main: MainThread) -> None:
    with soon(main, main.stop), pytest.raises(Stopped):
        main.call(sleep, LONG)
    for _ in range(2):
        with pytest.raises(Stopped):
            main.call(pytest.fail, LONG)
    assert_nothing_is_raised_late()


def test_stop_before_anything_runs_refuses_all(main: MainThread) -> None:
    main.stop()
    assert_nothing_is_raised_late()
    with pytest.raises(Stopped):
        main.call(pytest.fail, LONG)


def test_a_reason_that_came_before_a_stop_wins(main: MainThread) -> None:
    def cancelled_and_stopped() -> None:
        main.interrupt(Cancelled("first"))
        main.stop()

    with soon(main, cancelled_and_stopped), pytest.raises(Cancelled):
        main.call(persistent(1), LONG)
    with pytest.raises(Stopped):
        main.call(pytest.fail, LONG)


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
def test_timeouts_work_after_other_code_has_changed_the_handler_of_sigalrm(
    main: MainThread, handler: signal.Handlers
) -> None:
    """django-q's own timeouts reset SIGALRM to its default handler, which would kill the process."""
    assert main.call(lambda: 1, LONG) == 1
    signal.signal(signal.SIGALRM, handler)
    with pytest.raises(TimedOut):
        main.call(sleep, 0.02)


@pytest.mark.parametrize("how", ["by a thread", "by a signal", "as another thread"])
def test_interruptions_at_random_moments_are_never_raised_outside_the_call(how: str) -> None:
    """In a process without coverage: coverage deadlocks when an exception comes while it holds its own lock."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    command = [sys.executable, "-c", textwrap.dedent(STRESS), how]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stderr) == (0, "")
    returned, interrupted = map(int, done.stdout.split())
    assert returned >= ENOUGH
    assert interrupted >= ENOUGH


@pytest.mark.parametrize("moment", ["signal.signal", "threading.get_ident", "before disarming", "after disarming"])
def test_a_stop_that_comes_while_the_call_arms_or_disarms_itself_is_obeyed(
    main: MainThread, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The worker's handler of SIGUSR1 runs inside call(): what it raises must not leave call() half done."""
    signal.signal(signal.SIGUSR1, lambda number, frame: main.stop())

    def with_a_signal_after(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            result = function(*args)
            signal.raise_signal(signal.SIGUSR1)
            return result

        return called

    disarm = main._disarm

    def disarm_with_a_signal() -> None:
        if moment == "before disarming":
            signal.raise_signal(signal.SIGUSR1)
        disarm()
        if moment == "after disarming":
            signal.raise_signal(signal.SIGUSR1)

    with contained():
        with monkeypatch.context() as during, contextlib.suppress(Stopped):
            if moment == "signal.signal":
                during.setattr(signal, "signal", with_a_signal_after(signal.signal))
            elif moment == "threading.get_ident":
                during.setattr(threading, "get_ident", with_a_signal_after(threading.get_ident))
            else:
                during.setattr(main, "_disarm", disarm_with_a_signal)
            main.call(lambda: None, LONG)
        assert not main.interrupting
        assert_nothing_is_raised_late()
        with pytest.raises(Stopped):
            main.call(pytest.fail, LONG)


def test_a_stop_that_comes_when_the_alarm_was_just_put_back_does_not_kill_the_process(
    main: MainThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If call() was armed before it has its own handler of SIGALRM, that signal would end the process."""
    signal.signal(signal.SIGALRM, deadly)
    signal.signal(signal.SIGUSR1, lambda number, frame: main.stop())
    install = signal.signal

    def install_too_late(number: int, handler: Any) -> Any:
        signal.raise_signal(signal.SIGUSR1)
        return install(number, handler)

    with contained(), monkeypatch.context() as during:
        during.setattr(signal, "signal", install_too_late)
        with pytest.raises(Stopped):
            main.call(pytest.fail, LONG)


def deadly(number: int, frame: FrameType | None) -> None:
    raise AssertionError("the default handler of SIGALRM would have ended the process")


def persistent(times: int) -> Callable[[], None]:
    """A handler that swallows its interruption so many times."""

    def handler() -> None:
        for _ in range(times):
            with contextlib.suppress(BaseException):
                sleep()
        sleep()

    return handler


@contextlib.contextmanager
def contained() -> Iterator[None]:
    """What the body leaves armed must fail its own test, and not end the test run."""
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, signal.SIG_IGN)


@contextlib.contextmanager
def soon(main: MainThread, action: Callable[[], None], inside: threading.Event | None = None) -> Iterator[None]:
    """While the body runs, another thread waits until a call has begun, or has come to a certain point, and acts."""

    def act() -> None:
        eventually(inside.is_set if inside else lambda: main._thread, LONG / 2, "the beginning of the call")
        action()

    thread = threading.Thread(target=act)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def assert_nothing_is_raised_late() -> None:
    signal.raise_signal(signal.SIGALRM)
    eventually(lambda: signal.SIGALRM not in signal.sigpending(), LONG)
    for _ in range(1000):
        pass
