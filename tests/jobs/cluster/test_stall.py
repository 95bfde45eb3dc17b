"""A process in which no Python code runs any more: when that is noticed, and which of its threads may be to blame."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from demo.eventually import eventually
from jobs.cluster import stall
from jobs.cluster.stall import MAX_STEP, STALLED_AFTER, StallClock, is_suspended, may_hold_gil
from tests.support.timeouts import PATIENCE

PROGRAM = """
    import ctypes, re, sys, threading, time

    def computes():
        re.match("(a+)+b", "a" * 64)  # for years, with the GIL

    def sleeps_with_the_gil():
        ctypes.PyDLL(None).sleep(600)

    def spins():
        while True:
            pass

    def wakes_often():
        while True:
            time.sleep(0.001)

    def rests():
        time.sleep(600)

    def say(name):
        print(name, threading.get_native_id(), flush=True)

    def start(name):
        def body():
            say(name)
            said.set()
            go.wait()
            globals()[name]()
        said, go = threading.Event(), threading.Event()
        threading.Thread(target=body, daemon=True).start()
        said.wait()
        return go

    say("main")
    starts = [start(name) for name in sys.argv[1:]]
    for go in starts[:-1]:
        go.set()
        time.sleep(0.1)  # until it is where it stays
    starts[-1].set()
    time.sleep(600)
"""


def test_before_its_first_beat_and_after_its_last_one_a_process_does_not_stall() -> None:
    for beat in (0.0, math.inf):
        clock = StallClock()
        for now in range(100):
            clock.observe(beat, float(now))
        assert clock.seconds == 0


def test_a_process_stalls_for_as_long_as_its_last_beat_has_been_seen_unchanged() -> None:
    clock = StallClock()
    clock.observe(5.0, 5.1)
    assert clock.seconds == 0
    for now in (5.35, 5.6, 5.85):
        clock.observe(5.0, now)
    assert clock.seconds == pytest.approx(0.75)
    clock.observe(5.9, 6.0)
    assert clock.seconds == 0


def test_a_pause_of_the_supervisor_itself_does_not_count_as_a_stall() -> None:
    clock = StallClock()
    clock.observe(5.0, 5.1)
    clock.observe(5.0, 605.0)
    assert clock.seconds == MAX_STEP < STALLED_AFTER


@pytest.mark.parametrize(
    ("threads", "blamed"),
    [
        (["spins", "wakes_often", "computes"], {"computes"}),
        (["rests", "spins", "computes"], {"computes"}),
        (["spins", "wakes_often", "sleeps_with_the_gil"], {"main", "sleeps_with_the_gil"}),
        (["rests", "spins", "sleeps_with_the_gil"], {"main", "rests", "sleeps_with_the_gil"}),
    ],
    ids=lambda names: "+".join(sorted(names)),
)
def test_the_thread_that_computes_is_blamed_or_all_that_sleep_and_never_one_that_waits_for_the_gil(
    threads: list[str], blamed: set[str]
) -> None:
    with stalled(*threads) as (process, names):
        eventually(lambda: {names[thread] for thread in may_hold_gil(process)} == blamed, PATIENCE, "the right blame")


def test_a_process_that_somebody_has_stopped_is_suspended_until_it_goes_on() -> None:
    with stalled("rests") as (process, _):
        assert not is_suspended(process)
        os.kill(process, signal.SIGSTOP)
        eventually(lambda: is_suspended(process), PATIENCE)
        os.kill(process, signal.SIGCONT)
        eventually(lambda: not is_suspended(process), PATIENCE)
    assert not is_suspended(process)


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux has /proc.")
def test_a_process_that_has_just_ended_has_nobody_to_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stall, "SAMPLE_SECONDS", 0)
    assert may_hold_gil(2**22 + 1) == set()


@contextlib.contextmanager
def stalled(*threads: str) -> Iterator[tuple[int, dict[int, str]]]:
    """A process whose last thread does not give up the GIL: its id, and the names of its threads by their ids."""
    command = [sys.executable, "-c", textwrap.dedent(PROGRAM), *threads]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        lines = [process.stdout.readline().split() for _ in range(1 + len(threads))]
        yield process.pid, {int(thread): name for name, thread in lines}
    finally:
        process.kill()
        process.communicate()
