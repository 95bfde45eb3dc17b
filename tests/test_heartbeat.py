"""The thread beside a running handler: it renews the lease in time, and stops what it must stop."""

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError
from django.utils import timezone

from demo.eventually import eventually
from jobs import heartbeat as heartbeat_module
from jobs.errors import LeaseLost
from jobs.heartbeat import BEAT, Heartbeat
from jobs.interrupt import Abandoned, Cancelled, Interrupted, Interruptible
from jobs.models import Job
from jobs.place import STUCK_AFTER
from jobs.queue import LEASE
from jobs.states import Status
from tests.make import disconnect, make_job, row

SOON = 5


class Main:
    """Stands for the main thread: remembers why it would have been interrupted."""

    def __init__(self) -> None:
        self.reasons: list[Interrupted] = []

    def interrupt(self, reason: Interrupted) -> None:
        self.reasons.append(reason)


class Place:
    """A worker's place, as its guard sees it."""

    name, predecessor = "here:1", ""

    def __init__(self) -> None:
        self.deadlines: list[float] = []

    def expect_done_within(self, seconds: float) -> None:
        self.deadlines.append(seconds)

    def expect_idle(self) -> None:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat_module, "BEAT", 0.02)


@pytest.fixture
def main() -> Main:
    return Main()


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def heartbeat(main: Main, place: Place) -> Iterator[Heartbeat]:
    thread = Heartbeat(main, place)
    thread.start()
    yield thread
    assert thread.is_alive(), "the heartbeat has stopped for good"
    disconnect(thread)


def make_held(beat: Callable[[Any], None] = lambda job: None) -> Any:
    """A job whose renewals are counted; beat: what else a renewal does."""
    job = SimpleNamespace(pk="1", attempt=1, cancel_requested=False, beats=0)

    def renew_lease() -> None:
        job.beats += 1
        beat(job)

    job.renew_lease = renew_lease
    return job


def test_there_are_several_beats_to_a_lease() -> None:
    assert LEASE.total_seconds() / BEAT > 5


def test_a_lease_is_renewed_again_and_again_while_the_job_is_held(heartbeat: Heartbeat, main: Main) -> None:
    job = make_held()
    with heartbeat.keeping(job):
        eventually(lambda: job.beats >= 3, SOON)
    assert main.reasons == []


def test_a_job_that_ends_before_a_beat_costs_no_renewal(heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [make_held() for _ in range(100)]
    with monkeypatch.context() as slowly:
        slowly.setattr(heartbeat_module, "BEAT", 60)
        for job in jobs:
            with heartbeat.keeping(job):
                pass
    assert [job.beats for job in jobs] == [0] * 100


def test_a_beat_is_counted_from_the_beginning_of_each_job(
    heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many short jobs after one another, together longer than a beat, cost no renewal either."""
    monkeypatch.setattr(heartbeat_module, "BEAT", 0.5)
    jobs, until = [], time.monotonic() + 0.7
    while time.monotonic() < until:
        jobs.append(make_held())
        with heartbeat.keeping(jobs[-1]):
            time.sleep(0.001)
    assert sum(job.beats for job in jobs) == 0


def test_a_job_that_is_not_held_any_more_is_left_alone(heartbeat: Heartbeat) -> None:
    first, second = make_held(), make_held()
    with heartbeat.keeping(first):
        eventually(lambda: first.beats, SOON)
    beats = first.beats
    with heartbeat.keeping(second):
        eventually(lambda: second.beats >= 3, SOON)
    assert first.beats <= beats + 1


def test_a_handler_that_fails_does_not_stay_held(heartbeat: Heartbeat) -> None:
    job = make_held()
    with pytest.raises(ZeroDivisionError), heartbeat.keeping(job):
        1 / 0  # noqa: B018
    following = make_held()
    with heartbeat.keeping(following):
        eventually(lambda: following.beats >= 3, SOON)
    assert job.beats <= 1


def test_a_cancellation_stops_the_handler(heartbeat: Heartbeat, main: Main, place: Place) -> None:
    job = make_held(lambda job: setattr(job, "cancel_requested", True))
    with heartbeat.keeping(job):
        eventually(lambda: main.reasons, SOON)
    assert isinstance(main.reasons[0], Cancelled)
    assert place.deadlines[0] == STUCK_AFTER


def test_a_lost_lease_stops_the_handler(heartbeat: Heartbeat, main: Main, place: Place) -> None:
    with heartbeat.keeping(make_held(lose)):
        eventually(lambda: main.reasons, SOON)
    assert isinstance(main.reasons[0], Abandoned)
    assert place.deadlines[0] == STUCK_AFTER


@pytest.mark.parametrize("cause", ["cancellation", "lost lease"])
def test_a_handler_that_ignores_its_interruption_is_not_given_more_time_by_every_beat(
    heartbeat: Heartbeat, place: Place, cause: str
) -> None:
    """Stuck in C code that lets other threads run: the guard kills it after STUCK_AFTER, which is as long as a beat."""
    job = make_held(lose if cause == "lost lease" else lambda job: setattr(job, "cancel_requested", True))
    with heartbeat.keeping(job):
        eventually(lambda: job.beats >= 4, SOON)
    assert place.deadlines == [STUCK_AFTER]


@pytest.mark.parametrize("error", [OperationalError("away"), InterfaceError("closed"), DatabaseError("odd")])
def test_a_database_that_is_away_stops_neither_handler_nor_heartbeat(
    heartbeat: Heartbeat, main: Main, error: Exception
) -> None:
    def away(job: Any) -> None:
        if job.beats < 4:
            raise error

    job = make_held(away)
    with heartbeat.keeping(job):
        eventually(lambda: job.beats >= 6, SOON)
    assert main.reasons == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [Job.DoesNotExist("deleted meanwhile"), TypeError("a bug"), MemoryError()])
def test_no_error_of_one_jobs_renewal_leaves_the_next_job_without_a_heartbeat(
    heartbeat: Heartbeat, error: Exception
) -> None:
    def fail(job: Any) -> None:
        raise error

    job, following = make_held(fail), make_held()
    with heartbeat.keeping(job):
        eventually(lambda: job.beats, SOON)
    with heartbeat.keeping(following):
        eventually(lambda: following.beats >= 2 or not heartbeat.is_alive(), SOON)
    assert heartbeat.is_alive()


def test_an_interruption_that_comes_too_late_for_its_job_does_not_hit_the_next(
    heartbeat: Heartbeat, main: Main
) -> None:
    renewing, go_on = threading.Event(), threading.Event()

    def slow(job: Any) -> None:
        renewing.set()
        go_on.wait(SOON)
        lose(job)

    following = make_held()
    with heartbeat.keeping(make_held(slow)):
        assert renewing.wait(SOON)
    with heartbeat.keeping(following):
        go_on.set()
        eventually(lambda: following.beats, SOON)
    assert main.reasons == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("main", [Interruptible()])
def test_a_real_job_is_renewed_shows_its_progress_and_learns_of_its_cancellation(
    heartbeat: Heartbeat, main: Interruptible
) -> None:
    job = make_job(Status.RUNNING, lease_expires_at=timezone.now())
    job.progress = {"percent": 50, "message": "half"}

    def handler() -> None:
        eventually(lambda: row(job)["progress"]["percent"] == 50, SOON)
        assert row(job)["lease_expires_at"] > timezone.now() + LEASE / 2
        Job.objects.get(pk=job.pk).cancel()
        threading.Event().wait(30)

    with pytest.raises(Cancelled), heartbeat.keeping(job):
        main.call(handler, 30)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("main", [Interruptible()])
def test_a_real_job_whose_lease_was_taken_away_is_abandoned(heartbeat: Heartbeat, main: Interruptible) -> None:
    job = make_job(Status.RUNNING)

    def handler() -> None:
        Job.objects.update(attempt=2)
        threading.Event().wait(30)

    with pytest.raises(Abandoned), heartbeat.keeping(job):
        main.call(handler, 30)


def lose(job: Any) -> None:
    raise LeaseLost(job.pk, job.attempt)
