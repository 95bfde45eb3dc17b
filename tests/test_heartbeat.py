"""The thread beside a running handler: it renews the lease in time, and stops what it must stop."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError
from django.utils import timezone

from demo.eventually import eventually
from jobs.errors import LeaseLost
from jobs.leases import LEASE
from jobs.models import Job
from jobs.states import Status
from jobs.worker import heartbeat as heartbeat_module
from jobs.worker.heartbeat import BEAT, Heartbeat
from jobs.worker.interrupt import Abandoned, Cancelled, MainThread, Stopped
from jobs.worker.watchdog import STUCK_AFTER
from tests.beating import SOON, Clock, Main, Place, Ticking, beating, make_held
from tests.make import make_job, row

LONG = 60


@pytest.fixture
def heartbeat(monkeypatch: pytest.MonkeyPatch, hand: Hand, place: Place) -> Iterator[Heartbeat]:
    with beating(monkeypatch, hand, place) as heartbeat:
        yield heartbeat


@pytest.fixture
def main() -> Main:
    return Main()


@pytest.fixture
def place() -> Place:
    return Place()


@pytest.fixture
def hand() -> Hand:
    return Hand("here:1")


def test_there_are_several_beats_to_a_lease() -> None:
    assert LEASE.total_seconds() / BEAT > 5


def test_a_lease_is_renewed_again_and_again_while_the_job_is_held(heartbeat: Heartbeat, main: Main) -> None:
    job = make_held()
    with heartbeat.keeping(job, main):
        eventually(lambda: job.beats >= 3, SOON)
    assert main.reasons == []


def test_a_job_that_ends_before_a_beat_costs_no_renewal(
    heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch, main: Main
) -> None:
    jobs = [make_held() for _ in range(100)]
    with monkeypatch.context() as slowly:
        slowly.setattr(heartbeat_module, "BEAT", 60)
        for job in jobs:
            with heartbeat.keeping(job, main):
                pass
    assert [job.beats for job in jobs] == [0] * 100


def test_a_beat_is_counted_from_the_beginning_of_each_job(
    heartbeat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many short jobs after one another, together longer than a beat, cost no renewal either."""
    clock = Clock()
    jobs = [make_held() for _ in range(6)]
    with monkeypatch.context() as timeless:
        timeless.setattr(heartbeat_module, "time", clock)
        for job in jobs:
            thread = Ticking()
            with heartbeat.keeping(job, thread):
                clock.now += heartbeat_module.BEAT / 2
                eventually(lambda thread=thread: thread.rung >= 2, SOON, "a look at the clock")
    assert [job.beats for job in jobs] == [0] * 6


def test_a_job_that_is_not_held_any_more_is_left_alone(heartbeat: Heartbeat, main: Main) -> None:
    first, second = make_held(), make_held()
    with heartbeat.keeping(first, main):
        eventually(lambda: first.beats, SOON)
    beats = first.beats
    with heartbeat.keeping(second, main):
        eventually(lambda: second.beats >= 3, SOON)
    assert first.beats <= beats + 1


def test_a_handler_that_fails_does_not_stay_held(heartbeat: Heartbeat, main: Main) -> None:
    job = make_held()
    with pytest.raises(ZeroDivisionError), heartbeat.keeping(job, main):
        1 / 0  # noqa: B018
    beats, following = job.beats, make_held()
    with heartbeat.keeping(following, main):
        eventually(lambda: following.beats >= 3, SOON)
    assert job.beats <= beats + 1


def test_a_cancellation_stops_the_handler(heartbeat: Heartbeat, main: Main, place: Place) -> None:
    job = make_held(lambda job: setattr(job, "cancel_requested", True))
    with heartbeat.keeping(job, main):
        eventually(lambda: main.reasons, SOON)
    assert isinstance(main.reasons[0], Cancelled)
    assert place.deadlines[0] == STUCK_AFTER


def test_a_lost_lease_stops_the_handler(heartbeat: Heartbeat, main: Main, place: Place) -> None:
    with heartbeat.keeping(make_held(lose), main):
        eventually(lambda: main.reasons, SOON)
    assert isinstance(main.reasons[0], Abandoned)
    assert place.deadlines[0] == STUCK_AFTER


@pytest.mark.parametrize("cause", ["cancellation", "lost lease"])
def test_a_handler_that_ignores_its_interruption_is_not_given_more_time_by_every_beat(
    heartbeat: Heartbeat, place: Place, cause: str, main: Main
) -> None:
    """Stuck in C code that lets other threads run: the guard kills it after STUCK_AFTER, which is as long as a beat."""
    job = make_held(lose if cause == "lost lease" else lambda job: setattr(job, "cancel_requested", True))
    with heartbeat.keeping(job, main):
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
    with heartbeat.keeping(job, main):
        eventually(lambda: job.beats >= 6, SOON)
    assert main.reasons == []


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("error", [Job.DoesNotExist("deleted meanwhile"), TypeError("a bug"), MemoryError()])
def test_no_error_of_one_jobs_renewal_leaves_the_next_job_without_a_heartbeat(
    heartbeat: Heartbeat, error: Exception, main: Main
) -> None:
    def fail(job: Any) -> None:
        raise error

    job, following = make_held(fail), make_held()
    with heartbeat.keeping(job, main):
        eventually(lambda: job.beats, SOON)
    with heartbeat.keeping(following, main):
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
    with heartbeat.keeping(make_held(slow), main):
        assert renewing.wait(SOON)
    with heartbeat.keeping(following, main):
        go_on.set()
        eventually(lambda: following.beats, SOON)
    assert main.reasons == []


def test_all_threads_can_be_stopped_and_the_main_one_is_not_among_them(heartbeat: Heartbeat, main: Main) -> None:
    threads, reason = [Ticking(), Ticking()], Stopped("x")
    with (
        heartbeat.keeping(make_held(), main),
        heartbeat.keeping(make_held(), threads[0]),
        heartbeat.keeping(make_held(), threads[1]),
    ):
        heartbeat.stop_all(reason)
    assert [thread.reasons for thread in threads] == [[reason], [reason]]
    assert main.reasons == []


def test_many_jobs_are_renewed_side_by_side_and_one_that_fails_keeps_no_other_from_it(heartbeat: Heartbeat) -> None:
    def away(job: Any) -> None:
        raise OperationalError("away")

    jobs = [make_held(away), make_held(), make_held(away), make_held()]
    with contextlib.ExitStack() as held:
        for job in jobs:
            held.enter_context(heartbeat.keeping(job, Ticking()))
        eventually(lambda: min(job.beats for job in jobs) >= 3, SOON)


def test_what_waits_behind_a_long_job_is_put_down(heartbeat: Heartbeat, hand: Hand, main: Main) -> None:
    put_down = []
    hand.put_down = lambda: put_down.append(True)  # type: ignore[method-assign]
    thread = Ticking()
    with heartbeat.keeping(make_held(), thread):
        eventually(lambda: thread.rung >= 3, SOON)
    assert put_down == []
    with heartbeat.keeping(make_held(), main):
        eventually(lambda: put_down, SOON)


def test_a_result_that_nobody_writes_is_written_though_nothing_is_held(heartbeat: Heartbeat, hand: Hand) -> None:
    """A plain django-q task in the main thread, which may last an hour, has outlasted a job in a thread."""
    written: list[list[str]] = []
    hand.write = lambda: written.append(hand.unwritten)  # type: ignore[method-assign]
    hand.succeed(make_held(), "done")
    eventually(lambda: written, SOON)
    assert written[0] == ["1"]


def test_results_that_the_main_thread_writes_in_time_are_left_to_it(hand: Hand, place: Place) -> None:
    written: list[bool] = []
    hand.write = lambda: written.append(True)  # type: ignore[method-assign]
    heartbeat = Heartbeat(hand, place)
    for _ in range(3):
        hand.succeed(make_held(), "another one")
        heartbeat._look()
        hand._results.clear()
    assert written == []


@pytest.mark.django_db(transaction=True)
def test_a_real_result_is_written_as_soon_as_the_database_is_back(heartbeat: Heartbeat, hand: Hand) -> None:
    job, write, away = make_job(Status.RUNNING), hand.write, iter(range(3))

    def write_when_it_is_back() -> None:
        if next(away, None) is not None:
            raise OperationalError("away")
        write()

    hand.write = write_when_it_is_back  # type: ignore[method-assign]
    hand.succeed(job, "done")
    eventually(lambda: row(job)["status"] == Status.SUCCEEDED, SOON)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("main", [MainThread()])
def test_a_real_job_is_renewed_shows_its_progress_and_learns_of_its_cancellation(
    heartbeat: Heartbeat, main: MainThread
) -> None:
    job = make_job(Status.RUNNING, lease_expires_at=timezone.now())
    job.progress = {"percent": 50, "message": "half"}

    def handler() -> None:
        eventually(lambda: row(job)["progress"]["percent"] == 50, SOON)
        assert row(job)["lease_expires_at"] > timezone.now() + LEASE / 2
        Job.objects.get(pk=job.pk).cancel()
        threading.Event().wait(LONG)

    with pytest.raises(Cancelled), heartbeat.keeping(job, main):
        main.call(handler, LONG)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("main", [MainThread()])
def test_a_real_job_whose_lease_was_taken_away_is_abandoned(heartbeat: Heartbeat, main: MainThread) -> None:
    job = make_job(Status.RUNNING)

    def handler() -> None:
        Job.objects.update(attempt=2)
        threading.Event().wait(LONG)

    with pytest.raises(Abandoned), heartbeat.keeping(job, main):
        main.call(handler, LONG)


def lose(job: Any) -> None:
    raise LeaseLost(job.pk, job.attempt)
