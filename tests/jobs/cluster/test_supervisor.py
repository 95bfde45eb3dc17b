"""The supervisor: it replaces dead children, kills stuck ones, and stops all of them. The forks are real."""

import os
import signal
import time
from typing import cast

import pytest

from jobs.cluster.process import Process
from jobs.cluster.supervisor import Supervisor
from tests.jobs.cluster.tiny_cluster import LONG, TinyCluster


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("stuck", "timed_out=[1] lost=[]"),
        ("stalled", "timed_out=[1] lost=[]"),
        ("stalled_by_a_thread", "timed_out=[1] lost=[]"),
        ("killed", "timed_out=[] lost=[1]"),
    ],
)
def test_a_stuck_or_dead_process_is_replaced_by_one_that_knows_its_jobs(program: str, words: str) -> None:
    with TinyCluster(program, "done_in_time") as cluster:
        [first] = cluster.told(program, "started")[:1]
        second = cluster.wait_for(program, "started", times=2)
        assert second.what.endswith(f"after {first.what.split()[1]}")
        assert cluster.wait_for(program, "took over").what == f"took over {words}"
        stop(cluster)
    assert len(cluster.told(program, "started")) == 2
    assert len(cluster.told("done_in_time", "started")) == 1


def test_processes_are_asked_to_stop_then_interrupted_then_killed() -> None:
    with TinyCluster("polite", "busy", "deaf") as cluster:
        cluster.signal(signal.SIGTERM)
        for role in ("busy", "deaf"):
            cluster.wait_for(role, "SIGTERM")
        cluster.wait_until_gone("polite")
        assert told(cluster, "busy", "deaf") == [["SIGTERM"], ["SIGTERM"]]

        cluster.let_pass_long()
        cluster.wait_for("deaf", "SIGUSR1")
        cluster.wait_until_gone("busy")
        assert not cluster.told("supervisor")

        cluster.let_pass_long()
        cluster.wait_until_all_are_gone()
        assert cluster.supervisor.wait() == 0
    assert told(cluster, "polite", "busy", "deaf") == [["SIGTERM"], ["SIGTERM", "SIGUSR1"], ["SIGTERM", "SIGUSR1"]]


def test_a_stop_takes_no_longer_than_the_last_one_needs() -> None:
    with TinyCluster("polite", "polite") as cluster:
        cluster.wait_for("polite", "started", times=2)
        stop(cluster)
    assert cluster.told("supervisor", "stopped")[0].at - cluster.told("polite", "SIGTERM")[0].at < LONG / 2


def test_a_stuck_process_is_killed_before_the_grace_of_a_stop_is_over() -> None:
    with TinyCluster("stuck_at_the_end") as cluster:
        stop(cluster)
    assert [event.what for event in cluster.told("stuck_at_the_end")][1:] == ["SIGTERM"]


@pytest.mark.parametrize("program", ["short_lived", "broken"])
def test_a_program_that_ends_at_once_is_started_again_but_not_in_a_spin(program: str) -> None:
    began, restarts, soonest = time.monotonic(), 4, 0.2
    with TinyCluster(program, "polite", min_restart_interval=soonest) as cluster:
        last = cluster.wait_for(program, "started", times=1 + restarts)
        stop(cluster)
    assert last.at - began >= restarts * soonest
    assert [event.what for event in cluster.told("polite")][1:] == ["SIGTERM"]


def test_a_process_that_lived_long_enough_is_replaced_without_delay() -> None:
    with TinyCluster("polite", min_restart_interval=LONG) as cluster:
        first = cluster.wait_for("polite", "started")
        cluster.let_pass_long()
        os.kill(first.pid, signal.SIGKILL)
        assert cluster.wait_for("polite", "started", times=2).at - first.at < LONG / 2


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_changes_nothing_about_an_orderly_stop(second: signal.Signals) -> None:
    with TinyCluster("busy") as cluster:
        cluster.signal(signal.SIGTERM)
        cluster.wait_for("busy", "SIGTERM")
        cluster.signal(second)
        cluster.let_pass_long()
        cluster.wait_until_all_are_gone()
        assert cluster.supervisor.wait() == 0
    assert [event.what for event in cluster.told("busy")][1:] == ["SIGTERM", "SIGUSR1"]


def told(cluster: TinyCluster, *roles: str) -> list[list[str]]:
    """What each of them has heard since it began."""
    return [[event.what for event in cluster.told(role)][1:] for role in roles]


def stop(cluster: TinyCluster) -> None:
    cluster.signal(signal.SIGTERM)
    cluster.wait_until_all_are_gone()
    assert cluster.supervisor.wait() == 0


def test_a_child_that_dies_while_the_supervisor_looks_at_it_does_not_end_the_supervisor() -> None:
    class Dying:
        """Alive at the first look, dead at every further one."""

        looks = 0

        @property
        def sentinel(self) -> int | None:
            self.looks += 1
            return pipe if self.looks == 1 else None

    pipe, end = os.pipe()
    os.close(end)  # makes the pipe readable, like the sentinel of a process that has ended
    try:
        Supervisor([cast("Process", Dying())], grace=1.0)._wait()
    finally:
        os.close(pipe)
