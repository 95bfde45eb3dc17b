"""A forked process and its guard's handle on it: names, deadlines, signals, and no orphans. The forks are real."""

import os
import signal

import pytest

from tests.tiny_cluster import TinyCluster


def make_child() -> Child:
    return Child("worker", lambda child: pytest.fail("it is never started"))


def test_a_place_is_empty_at_first() -> None:
    child = make_child()
    child.signal(signal.SIGKILL)
    assert (child.name, child.predecessor, child.alive, child.stuck) == ("", "", False, False)


def test_a_process_is_stuck_when_it_is_not_idle_by_the_time_it_named() -> None:
    child = make_child()
    child.expect_done_within(60)
    assert not child.stuck
    child.expect_done_within(-1)
    assert child.stuck
    child.expect_idle()
    assert not child.stuck


def test_a_process_that_has_condemned_itself_is_stuck_whatever_else_it_says() -> None:
    child = make_child()
    child.condemn()
    child.expect_done_within(60)
    child.expect_idle()
    assert child.stuck


def test_names_on_the_host_with_the_longest_name_differ_and_fit_their_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child_module.socket, "gethostname", lambda: "h" * 64)
    names = {child_module._name(2**22 - 1), child_module._name(2**22 - 2)}
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


def test_no_child_outlives_a_guard_that_was_killed() -> None:
    with TinyCluster("polite", "deaf", "busy") as cluster:
        cluster.signal(signal.SIGKILL)
        cluster.wait_until_all_are_gone()


def test_a_signal_that_comes_before_a_process_can_hear_it_is_kept_for_it() -> None:
    with TinyCluster("slow_starter") as cluster:
        os.kill(cluster.wait_for("slow_starter", "started").pid, signal.SIGTERM)
        cluster.wait_for("slow_starter", "SIGTERM")


def test_the_interruption_from_a_terminal_reaches_all_and_only_the_guard_acts_on_it() -> None:
    with TinyCluster("polite", "busy") as cluster:
        os.killpg(cluster.guard.pid, signal.SIGINT)
        cluster.wait_for("busy", "SIGTERM")
        cluster.wait_until_gone("polite")
        cluster.let_pass_long()
        cluster.wait_until_all_are_gone()
        assert cluster.guard.wait() == 0
    assert [event.what for event in cluster.told("polite")][1:] == ["SIGTERM"]
    assert [event.what for event in cluster.told("busy")][1:] == ["SIGTERM", "SIGUSR1"]
