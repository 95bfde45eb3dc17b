"""How many jobs are claimed ahead of free threads."""

import pytest

from jobs.worker import prefetch
from jobs.worker.prefetch import THREAD_PREFETCH_SECONDS, ThreadPrefetch
from tests.support.fakes import Clock


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(prefetch, "time", clock)
    return clock


def run(ahead: ThreadPrefetch, clock: Clock, seconds: float, kind: str = "test.kind") -> None:
    """One job from its begin to its end."""
    ahead.begin(99, kind)
    clock.now += seconds
    ahead.end(99)


def test_nothing_is_claimed_ahead_before_a_duration_is_known(clock: Clock) -> None:
    ahead = ThreadPrefetch()
    ahead.begin(0, "test.kind")
    assert ahead.limit("test.kind") == 0


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (THREAD_PREFETCH_SECONDS / 4, 8),  # each thread will be free
        (THREAD_PREFETCH_SECONDS * 1.9, 4),
        (THREAD_PREFETCH_SECONDS * 7, 1),
        (THREAD_PREFETCH_SECONDS * 20, 0),
    ],
)
def test_as_many_are_claimed_ahead_as_will_soon_find_a_thread(clock: Clock, seconds: float, expected: int) -> None:
    ahead = ThreadPrefetch()
    run(ahead, clock, seconds)
    for slot in range(8):
        ahead.begin(slot, "test.kind")
    assert ahead.limit("test.kind") == expected


def test_idle_threads_and_those_of_other_kinds_do_not_count(clock: Clock) -> None:
    ahead = ThreadPrefetch()
    for kind in ("test.kind", "test.other"):
        run(ahead, clock, 0.01, kind)
    assert ahead.limit("test.kind") == 0
    ahead.begin(0, "test.kind")
    ahead.begin(1, "test.other")
    assert ahead.limit("test.kind") == 1


def test_a_call_that_takes_twice_as_long_as_usual_does_not_count(clock: Clock) -> None:
    ahead = ThreadPrefetch()
    run(ahead, clock, 0.01)
    for slot in range(4):
        ahead.begin(slot, "test.kind")
    clock.now += 0.019
    assert ahead.limit("test.kind") == 4
    clock.now += 0.002
    assert ahead.limit("test.kind") == 0


def test_slow_calls_change_the_usual_duration_a_fifth_at_a_time(clock: Clock) -> None:
    ahead = ThreadPrefetch()
    run(ahead, clock, 0.05)
    run(ahead, clock, 1.05)  # usual is 0.25 now
    for slot in range(10):
        ahead.begin(slot, "test.kind")
    assert ahead.limit("test.kind") == 2
