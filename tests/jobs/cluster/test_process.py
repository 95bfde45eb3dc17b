"""A forked process and its supervisor's handle on it: names, deadlines, signals, and no orphans. The forks are real."""

import os
import signal
from types import SimpleNamespace
from uuid import UUID

import pytest

from jobs.cluster import process as process_module
from jobs.cluster.process import Process
from jobs.cluster.stall import STALLED_AFTER, SUSPECT_AFTER
from jobs.worker.watchdog import Predecessor
from tests.jobs.cluster.tiny_cluster import TinyCluster
from tests.support.fakes import Clock

FIRST, SECOND, THIRD = UUID(int=1), UUID(int=2), UUID(int=3)


class Watched(Process):
    """A handle without a process. `threads` says which threads may hold the GIL; `killed` whether SIGKILL was sent."""

    def __init__(self) -> None:
        super().__init__("worker", lambda place: pytest.fail("it is never started"), slots=3)
        self.name = "here:1"
        self._process = SimpleNamespace(pid=1)  # type: ignore[assignment]
        self.killed = False

    @property
    def alive(self) -> bool:
        return not self.killed

    def signal(self, number: signal.Signals) -> None:
        self.killed = self.killed or number == signal.SIGKILL

    @property
    def last_words(self) -> Predecessor:
        return self._as_predecessor()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(process_module, "time", clock)
    monkeypatch.setattr("jobs.worker.watchdog.time", clock)
    return clock


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The threads that may hold the GIL."""
    threads: set[int] = set()
    monkeypatch.setattr(process_module, "may_hold_gil", lambda pid: threads)
    monkeypatch.setattr(process_module, "is_suspended", lambda pid: False)
    return threads


@pytest.fixture
def process(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """With three jobs that run until 60 s from now; their threads are 100, 101 and 102. It has just beaten."""
    process = Watched()
    for slot, job in enumerate((FIRST, SECOND, THIRD)):
        monkeypatch.setattr("jobs.worker.watchdog.threading.get_native_id", lambda slot=slot: 100 + slot)
        process.watchdog.start(slot, job, 60)
    process.watchdog.beat()
    assert process.kill_if_stuck() is None
    return process


def stall(process: Watched, clock: Clock, seconds: float) -> str | None:
    """Look at the process for so many seconds, without a beat; returns the result of the last look."""
    found = None
    until = clock.now + seconds
    while found is None and clock.now < until:
        clock.now += 0.25
        found = process.kill_if_stuck()
    return found


def test_a_process_that_was_not_started_has_no_name_and_is_not_stuck() -> None:
    process = Process("worker", lambda place: pytest.fail("it is never started"))
    process.watchdog.start(0, FIRST, -1)
    process.signal(signal.SIGKILL)
    assert (process.name, process.predecessor, process.alive, process.exitcode) == ("", None, False, None)
    assert (process.sentinel, process.kill_if_stuck()) == (None, None)


def test_a_job_that_ignores_its_deadline_costs_its_process_and_no_other_job_an_attempt(
    process: Watched, clock: Clock
) -> None:
    process.watchdog.set_deadline(1, 3)
    clock.now += 4
    process.watchdog.beat()
    assert process.kill_if_stuck() == "overdue"
    assert process.killed
    assert process.last_words == Predecessor("here:1", timed_out=frozenset({SECOND}))


def test_a_process_that_beats_and_is_in_time_is_left_alone(process: Watched, clock: Clock) -> None:
    for _ in range(200):
        clock.now += 0.25
        process.watchdog.beat()
        assert process.kill_if_stuck() is None
    assert not process.killed


def test_a_process_that_does_not_beat_any_more_is_killed_as_stalled(
    process: Watched, clock: Clock, threads: set[int]
) -> None:
    threads.add(102)
    assert stall(process, clock, STALLED_AFTER - 1) is None
    assert stall(process, clock, 2) == "stalled"
    assert process.last_words == Predecessor("here:1", timed_out=frozenset({THIRD}))


def test_of_several_threads_that_may_stall_a_process_each_jobs_attempt_is_lost(
    process: Watched, clock: Clock, threads: set[int]
) -> None:
    threads |= {99, 100, 102}
    assert stall(process, clock, STALLED_AFTER + 1) == "stalled"
    assert process.last_words == Predecessor("here:1", lost=frozenset({FIRST, THIRD}))


def test_of_several_threads_that_may_stall_a_process_the_overdue_one_is_blamed(
    process: Watched, clock: Clock, threads: set[int]
) -> None:
    threads |= {100, 102}
    process.watchdog.set_deadline(2, SUSPECT_AFTER + 1)
    assert stall(process, clock, STALLED_AFTER) == "stalled"
    assert process.last_words == Predecessor("here:1", timed_out=frozenset({THIRD}))


def test_a_job_that_is_overdue_because_another_one_stalls_the_process_is_not_blamed(
    process: Watched, clock: Clock, threads: set[int]
) -> None:
    threads.add(100)
    process.watchdog.set_deadline(2, SUSPECT_AFTER + 1)
    assert stall(process, clock, STALLED_AFTER) == "stalled"
    assert process.last_words == Predecessor("here:1", timed_out=frozenset({FIRST}))


@pytest.mark.parametrize("found", [set(), {77}], ids=["nothing is known", "a thread without a job"])
def test_every_job_is_lost_if_no_thread_with_a_job_may_hold_the_gil(
    process: Watched, clock: Clock, threads: set[int], found: set[int]
) -> None:
    threads |= found
    assert stall(process, clock, STALLED_AFTER + 1) == "stalled"
    assert process.last_words == Predecessor("here:1", lost=frozenset({FIRST, SECOND, THIRD}))


def test_the_jobs_of_a_process_that_somebody_has_stopped_are_lost_and_none_of_them_is_blamed(
    process: Watched, clock: Clock, threads: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "is_suspended", lambda pid: True)
    threads.add(100)
    assert stall(process, clock, STALLED_AFTER + 1) == "stalled"
    assert process.last_words == Predecessor("here:1", lost=frozenset({FIRST, SECOND, THIRD}))


def test_a_process_that_died_by_itself_has_lost_every_job_that_ran(process: Watched) -> None:
    process.watchdog.finish(1)
    assert process.last_words == Predecessor("here:1", lost=frozenset({FIRST, THIRD}))


def test_names_on_the_host_with_the_longest_name_differ_and_fit_their_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_module.socket, "gethostname", lambda: "h" * 64)
    names = {process_module._process_name(2**22 - 1), process_module._process_name(2**22 - 2)}
    assert max(map(len, names)) <= 100
    assert len(names) == 2


def test_a_killed_process_is_replaced_by_one_that_knows_whom_it_replaces() -> None:
    with TinyCluster("polite") as cluster:
        first = cluster.wait_for("polite", "started")
        os.kill(first.pid, signal.SIGKILL)
        second = cluster.wait_for("polite", "started", times=2)
        os.kill(second.pid, signal.SIGKILL)
        third = cluster.wait_for("polite", "started", times=3)
    names = [event.what.split()[1] for event in (first, second, third)]
    assert [name.rpartition(":")[2] for name in names] == [str(event.pid) for event in (first, second, third)]
    assert [event.what.split()[3] for event in (first, second, third)] == ["nobody", *names[:2]]


def test_a_process_that_died_before_it_took_over_is_skipped() -> None:
    """It has claimed nothing; the jobs of the one before it are still to be taken over."""
    with TinyCluster("never_ready") as cluster:
        first = cluster.wait_for("never_ready", "started")
        os.kill(first.pid, signal.SIGKILL)
        second = cluster.wait_for("never_ready", "started", times=2)
        os.kill(second.pid, signal.SIGKILL)
        third = cluster.wait_for("never_ready", "started", times=3)
    name = first.what.split()[1]
    assert [event.what.split()[3] for event in (first, second, third)] == ["nobody", name, name]


def test_no_child_outlives_a_supervisor_that_was_killed() -> None:
    with TinyCluster("polite", "deaf", "busy") as cluster:
        cluster.signal(signal.SIGKILL)
        cluster.wait_until_all_are_gone()


def test_a_signal_that_comes_before_the_signal_handlers_are_installed_is_delivered_later() -> None:
    with TinyCluster("slow_starter") as cluster:
        os.kill(cluster.wait_for("slow_starter", "started").pid, signal.SIGTERM)
        cluster.wait_for("slow_starter", "SIGTERM")


def test_ctrl_c_reaches_all_and_only_the_supervisor_acts_on_it() -> None:
    with TinyCluster("polite", "busy") as cluster:
        os.killpg(cluster.supervisor.pid, signal.SIGINT)
        cluster.wait_for("busy", "SIGTERM")
        cluster.wait_until_gone("polite")
        cluster.let_pass_long()
        cluster.wait_until_all_are_gone()
        assert cluster.supervisor.wait() == 0
    assert [event.what for event in cluster.told("polite")][1:] == ["SIGTERM"]
    assert [event.what for event in cluster.told("busy")][1:] == ["SIGTERM", "SIGUSR1"]
