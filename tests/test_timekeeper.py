"""The time of jobs in threads, kept for them whatever becomes of their leases; who ignores it costs the process."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from demo.eventually import eventually
from jobs.worker import heartbeat as heartbeat_module
from jobs.worker.heartbeat import Heartbeat
from jobs.worker.interrupt import Cancelled
from jobs.worker.watchdog import STUCK_AFTER
from tests.beating import SOON, Clock, Place, Ticking, beating, make_held


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def heartbeat(monkeypatch: pytest.MonkeyPatch, place: Place) -> Iterator[Heartbeat]:
    with beating(monkeypatch, Hand("here:1"), place) as heartbeat:
        yield heartbeat


def test_a_thread_has_its_time_kept_for_it(heartbeat: Heartbeat, place: Place) -> None:
    thread = Ticking()
    with heartbeat.keeping(make_held(), thread):
        eventually(lambda: thread.rung >= 3, SOON)
    assert (place.deadlines, place.condemned) == ([], False)


def test_a_thread_that_ignores_its_time_out_has_the_process_killed_in_the_end(
    heartbeat: Heartbeat, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat_module, "STUCK_AFTER", 0.05)
    thread = Ticking(overdue=True)
    with heartbeat.keeping(make_held(), thread):
        eventually(lambda: place.condemned, SOON)
    assert thread.rung >= 2


class Hanging:
    """A database that a renewal gets no answer from."""

    def __init__(self) -> None:
        self.asked, self.answers = threading.Event(), threading.Event()

    def renew(self, job: Any) -> None:
        self.asked.set()
        assert self.answers.wait(SOON)


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    yield (database := Hanging())
    database.answers.set()


def test_a_thread_has_its_time_kept_while_a_renewal_hangs(heartbeat: Heartbeat, hanging: Hanging) -> None:
    thread = Ticking()
    with heartbeat.keeping(make_held(hanging.renew), Ticking()), heartbeat.keeping(make_held(), thread):
        assert hanging.asked.wait(SOON)
        before = thread.rung
        eventually(lambda: thread.rung >= before + 3, SOON)


def test_a_thread_that_has_come_back_while_a_renewal_hung_does_not_count_as_stuck(
    heartbeat: Heartbeat, hanging: Hanging, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, job, late = Clock(), make_held(hanging.renew), Ticking(overdue=True)
    with monkeypatch.context() as timeless:
        timeless.setattr(heartbeat_module, "time", clock)
        with heartbeat.keeping(job, Ticking()):
            with heartbeat.keeping(make_held(), late):
                eventually(lambda: late.rung >= 3, SOON, "its interruption")
                clock.now += heartbeat_module.BEAT
                assert hanging.asked.wait(SOON)
            clock.now += 2 * STUCK_AFTER
            hanging.answers.set()
            eventually(lambda: job.beats >= 2, SOON, "another look at all")
    assert not place.condemned


def test_a_cancelled_thread_does_not_put_the_process_under_a_deadline_at_once(
    heartbeat: Heartbeat, place: Place
) -> None:
    thread = Ticking()
    with heartbeat.keeping(make_held(lambda job: setattr(job, "cancel_requested", True)), thread):
        eventually(lambda: thread.reasons, SOON)
    assert isinstance(thread.reasons[0], Cancelled)
    assert (place.deadlines, place.condemned) == ([], False)
