"""The guard over its children: it replaces the dead, kills the stuck, and stops all of them. The forks are real."""

import os
import signal
import time

import pytest

from tests.tiny_cluster import TinyCluster


def test_a_stuck_process_is_killed_and_replaced_while_the_others_go_on() -> None:
    with TinyCluster("stuck", "done_in_time") as cluster:
        [first] = cluster.told("stuck", "started")
        second = cluster.wait_for("stuck", "started", times=2)
        assert second.what.endswith(f"after {first.what.split()[1]}")
        stop(cluster)
    assert len(cluster.told("stuck", "started")) == 2
    assert len(cluster.told("done_in_time", "started")) == 1


def test_those_that_do_not_stop_are_asked_then_interrupted_then_killed() -> None:
    with TinyCluster("polite", "busy", "deaf", grace=0.3, hard_stop=0.3) as cluster:
        stop(cluster)
    heard = {role: [event.what for event in cluster.told(role)][1:] for role in ("polite", "busy", "deaf")}
    assert heard == {"polite": ["SIGTERM"], "busy": ["SIGTERM", "SIGUSR1"], "deaf": ["SIGTERM", "SIGUSR1"]}
    asked, interrupted = cluster.told("deaf")[1:]
    assert interrupted.at - asked.at >= 0.25
    assert cluster.told("guard", "stopped")[0].at - interrupted.at >= 0.25


def test_a_stop_takes_no_longer_than_the_last_one_needs() -> None:
    with TinyCluster("polite", "polite", grace=60, hard_stop=60) as cluster:
        cluster.wait_for("polite", "started", times=2)
        began = time.monotonic()
        stop(cluster)
    assert time.monotonic() - began < 5


def test_one_that_is_stuck_does_not_hold_up_a_stop_for_all_of_its_grace() -> None:
    with TinyCluster("stuck_at_the_end", grace=60, hard_stop=60) as cluster:
        stop(cluster)
    assert [event.what for event in cluster.told("stuck_at_the_end")][1:] == ["SIGTERM"]


@pytest.mark.parametrize("program", ["short_lived", "broken"])
def test_a_program_that_ends_at_once_is_started_again_but_not_in_a_spin(program: str) -> None:
    began, restarts, soonest = time.monotonic(), 4, 0.2
    with TinyCluster(program, "polite", soonest_restart=soonest) as cluster:
        last = cluster.wait_for(program, "started", times=1 + restarts)
        stop(cluster)
    assert last.at - began >= restarts * soonest
    assert [event.what for event in cluster.told("polite")][1:] == ["SIGTERM"]


def test_a_process_that_lived_long_enough_is_replaced_without_delay() -> None:
    with TinyCluster("polite", soonest_restart=0.05) as cluster:
        first = cluster.wait_for("polite", "started")
        time_of_death = time.monotonic()
        os.kill(first.pid, signal.SIGKILL)
        assert cluster.wait_for("polite", "started", times=2).at - time_of_death < 0.5


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_changes_nothing_about_an_orderly_stop(second: signal.Signals) -> None:
    with TinyCluster("busy", grace=0.3) as cluster:
        cluster.signal(signal.SIGTERM)
        cluster.wait_for("busy", "SIGTERM")
        cluster.signal(second)
        cluster.wait_until_all_are_gone()
        assert cluster.guard.wait() == 0
    assert [event.what for event in cluster.told("busy")][1:] == ["SIGTERM", "SIGUSR1"]


def stop(cluster: TinyCluster) -> None:
    cluster.signal(signal.SIGTERM)
    cluster.wait_until_all_are_gone()
    assert cluster.guard.wait() == 0
