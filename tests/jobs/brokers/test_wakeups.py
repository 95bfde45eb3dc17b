"""Wake-ups of a burst are joined: by channel, for a few milliseconds, in one process and without losing any."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing import get_context

import pytest

from demo.stack import ROOT
from jobs.brokers import wakeups
from jobs.brokers.wakeups import JOIN_WITHIN, MAX_WAKEUPS, Channel, JoinedWakeups, Wakeups
from tests.support.brokers import all_are_sent
from tests.support.timeouts import PATIENCE

HERE, MAIL, POOLS = ("legwork", False), ("mail", False), ("legwork", True)
LEAVES_SOME_BEHIND = """
from jobs.brokers.wakeups import JoinedWakeups

joined = JoinedWakeups(lambda wakeups: print(*wakeups.values()))
for body in "abc":
    joined.send({("legwork", False): [body]})
"""


class Clock:
    """The time of jobs.brokers.wakeups, which stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self._moved = threading.Event()

    def sleep(self, seconds: float) -> None:
        """Ends when the time is moved."""
        self.slept.append(seconds)
        assert self._moved.wait(PATIENCE)

    def move(self, seconds: float = JOIN_WITHIN) -> None:
        self.now += seconds
        self._moved.set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(wakeups, "monotonic", lambda: clock.now)
    monkeypatch.setattr(wakeups, "sleep", clock.sleep)
    yield clock
    clock.move()
    all_are_sent()


class Recorder:
    """Records what is sent, and in which thread."""

    def __init__(self) -> None:
        self.sent: list[Wakeups] = []
        self.threads: list[threading.Thread] = []

    def send_now(self, wakeups: Wakeups) -> None:
        self.sent.append(wakeups)
        self.threads.append(threading.current_thread())


def test_a_lone_wakeup_is_sent_at_once_and_starts_no_thread(clock: Clock) -> None:
    recorder, threads = Recorder(), threading.active_count()
    joined = JoinedWakeups(recorder.send_now)
    for body in "ab":
        joined.send({HERE: [body]})
        clock.move()
    assert recorder.sent == [{HERE: ["a"]}, {HERE: ["b"]}]
    assert recorder.threads == [threading.current_thread()] * 2
    assert threading.active_count() == threads


def test_those_that_follow_are_sent_together_at_the_end_of_the_time(clock: Clock) -> None:
    recorder = Recorder()
    joined = JoinedWakeups(recorder.send_now)
    joined.send({HERE: ["a"]})
    clock.now += JOIN_WITHIN / 4
    for more in ({HERE: ["b"], MAIL: ["b"]}, {POOLS: ["c"]}, {HERE: ["d"]}):
        joined.send(more)
    assert recorder.sent == [{HERE: ["a"]}]
    clock.move()
    all_are_sent()
    assert recorder.sent[1:] == [{HERE: ["b", "d"], MAIL: ["b"], POOLS: ["c"]}]
    assert clock.slept[0] == pytest.approx(JOIN_WITHIN * 3 / 4)


def test_a_channel_gets_no_more_than_its_largest_number(clock: Clock) -> None:
    recorder = Recorder()
    joined = JoinedWakeups(recorder.send_now)
    joined.send({MAIL: ["first"]})
    for number in range(MAX_WAKEUPS):
        joined.send({HERE: [f"{number} a", f"{number} b", f"{number} c"]})
    clock.move()
    all_are_sent()
    assert recorder.sent[1][HERE][:4] == ["0 a", "0 b", "0 c", "1 a"]
    assert len(recorder.sent[1][HERE]) == MAX_WAKEUPS


def test_after_a_burst_a_lone_one_is_sent_at_once_again(clock: Clock) -> None:
    recorder = Recorder()
    joined = JoinedWakeups(recorder.send_now)
    for body in "ab":
        joined.send({HERE: [body]})
    clock.move()
    all_are_sent()
    clock.move()
    joined.send({HERE: ["c"]})
    assert recorder.sent == [{HERE: [body]} for body in "abc"]
    assert recorder.threads[2] == recorder.threads[0] == threading.current_thread() != recorder.threads[1]


def test_threads_lose_none_and_send_none_twice() -> None:
    recorder = Recorder()
    joined = JoinedWakeups(recorder.send_now)
    channels: list[list[Channel]] = [
        [(f"queue {number} of {thread}", False) for number in range(300)] for thread in range(4)
    ]

    def send(mine: list[Channel]) -> None:
        for channel in mine:
            joined.send({channel: ["an id"]})

    threads = [threading.Thread(target=send, args=[mine]) for mine in channels]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    all_are_sent()
    sent = [channel for wakeups in recorder.sent for channel in wakeups]
    assert sorted(sent) == sorted(channel for mine in channels for channel in mine)
    assert len(recorder.sent) < len(sent)


def test_a_process_that_exits_sends_what_it_has_joined() -> None:
    program = [sys.executable, "-c", LEAVES_SOME_BEHIND]
    done = subprocess.run(program, cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.splitlines() == ["['a']", "['b', 'c']"]


def test_a_fork_sends_its_own_and_leaves_the_rest_to_its_parent(clock: Clock) -> None:
    recorder, context = Recorder(), get_context("fork")
    joined = JoinedWakeups(recorder.send_now)
    for body in "ab":
        joined.send({HERE: [body]})
    heard, tell = context.Pipe(duplex=False)

    def child() -> None:
        clock.move()
        recorder.sent.clear()
        for body in "cd":
            joined.send({HERE: [body]})
        all_are_sent()
        tell.send(recorder.sent)

    with joined._lock:  # as if another thread of the parent were sending
        process = context.Process(target=child)
        process.start()
    try:
        assert heard.poll(PATIENCE)
        assert heard.recv() == [{HERE: ["c"]}, {HERE: ["d"]}]
    finally:
        process.kill()
        process.join()
    clock.move()
    all_are_sent()
    assert recorder.sent == [{HERE: ["a"]}, {HERE: ["b"]}]
