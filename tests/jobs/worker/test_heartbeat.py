"""The thread beside running handlers: it renews leases in time, shows progress, and stops what must stop."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.db import DatabaseError, InterfaceError, OperationalError
from django.utils import timezone

from demo.eventually import eventually
from jobs.models import Job
from jobs.models.queue.leases import LEASE
from jobs.models.states import Status
from jobs.worker import heartbeat as heartbeat_module
from jobs.worker.attempts.buffer import WorkBuffer
from jobs.worker.attempts.interrupt import Abandoned, Cancelled, MainThread
from jobs.worker.attempts.running_attempts import RunningAttempts
from jobs.worker.heartbeat import RENEW_EVERY, RETRY_RENEWAL_AFTER, Heartbeat
from jobs.worker.watchdog import Watchdog
from tests.support.factories import WORKER, disconnect, make_job, row
from tests.support.fakes import Clock, Leases, Remembering, checking_timeouts, make_attempted

SOON = LONG = 60
"""Seconds: what has not happened by then never will."""


@pytest.fixture
def running() -> RunningAttempts:
    return RunningAttempts(Watchdog(slots=4))


@pytest.fixture
def buffer() -> WorkBuffer:
    return WorkBuffer(WORKER)


@pytest.fixture
def thread() -> Remembering:
    return Remembering()


@pytest.fixture
def leases(monkeypatch: pytest.MonkeyPatch) -> Leases:
    leases = Leases()
    monkeypatch.setattr(heartbeat_module, "Job", SimpleNamespace(objects=leases))
    monkeypatch.setattr(heartbeat_module, "close_old_connections", lambda: None)
    monkeypatch.setattr(Heartbeat, "_limit_lock_waits", lambda self: None)
    return leases


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(heartbeat_module, "time", clock)
    return clock


@pytest.fixture
def heartbeat(clock: Clock, leases: Leases, running: RunningAttempts, buffer: WorkBuffer) -> Heartbeat:
    """A heartbeat without a thread and a database: the test calls check() and moves the clock."""
    return Heartbeat(WORKER, running, buffer)


def beat(heartbeat: Heartbeat, clock: Clock) -> None:
    clock.now += RENEW_EVERY
    heartbeat.check()


def test_there_are_several_beats_to_a_lease() -> None:
    assert LEASE.total_seconds() / RENEW_EVERY > 5


def test_leases_of_jobs_that_wait_for_a_thread_are_renewed_too(
    clock: Clock, leases: Leases, running: RunningAttempts, buffer: WorkBuffer, thread: Remembering
) -> None:
    waits, runs = make_attempted(), make_attempted()
    heartbeat = Heartbeat(WORKER, running, buffer, lambda: [waits])
    beat(heartbeat, clock)
    with running.attempt(runs, thread, 0):
        leases.lost, leases.cancelled = {waits.pk}, {waits.pk}
        beat(heartbeat, clock)
    assert leases.renewed == [{waits.pk}, {runs.pk, waits.pk}]
    assert not thread.reasons


def test_leases_are_renewed_at_every_beat_and_not_at_every_check(
    heartbeat: Heartbeat, clock: Clock, leases: Leases, running: RunningAttempts, thread: Remembering
) -> None:
    job = make_attempted()
    with running.attempt(job, thread, 0):
        for _ in range(3):
            beat(heartbeat, clock)
            heartbeat.check()
    assert leases.renewed == [{job.pk}] * 3
    assert thread.reasons == []


def test_all_jobs_that_run_are_renewed_in_one_statement(
    heartbeat: Heartbeat, clock: Clock, leases: Leases, running: RunningAttempts, thread: Remembering
) -> None:
    first, second = make_attempted(), make_attempted()
    with running.attempt(first, thread, 0), running.attempt(second, Remembering(), 1):
        beat(heartbeat, clock)
    assert leases.renewed == [{first.pk, second.pk}]


def test_jobs_that_end_before_a_beat_cost_no_renewal(
    heartbeat: Heartbeat, clock: Clock, leases: Leases, running: RunningAttempts, thread: Remembering
) -> None:
    for _ in range(100):
        with running.attempt(make_attempted(), thread, 0):
            pass
    heartbeat.check()
    beat(heartbeat, clock)
    assert leases.renewed == []


def test_a_job_that_has_ended_is_not_renewed_with_the_next(
    heartbeat: Heartbeat, clock: Clock, leases: Leases, running: RunningAttempts, thread: Remembering
) -> None:
    first, second = make_attempted(), make_attempted()
    for job in (first, second):
        with running.attempt(job, thread, 0):
            beat(heartbeat, clock)
    assert leases.renewed == [{first.pk}, {second.pk}]


@pytest.mark.parametrize(("answer", "reason"), [("cancelled", Cancelled), ("lost", Abandoned)])
def test_what_was_cancelled_or_has_lost_its_lease_is_stopped_and_nothing_else(
    heartbeat: Heartbeat,
    clock: Clock,
    leases: Leases,
    running: RunningAttempts,
    thread: Remembering,
    answer: str,
    reason: type[Exception],
) -> None:
    job, other = make_attempted(), Remembering()
    setattr(leases, answer, {job.pk})
    with running.attempt(job, thread, 0), running.attempt(make_attempted(), other, 1):
        beat(heartbeat, clock)
    assert [type(each) for each in thread.reasons] == [reason]
    assert other.reasons == []


@pytest.mark.parametrize("error", [OperationalError("away"), InterfaceError("closed"), DatabaseError("odd")])
def test_a_database_that_is_away_stops_no_handler_and_is_asked_again_soon(
    heartbeat: Heartbeat, clock: Clock, leases: Leases, running: RunningAttempts, thread: Remembering, error: Exception
) -> None:
    leases.error = error
    with running.attempt(make_attempted(), thread, 0):
        beat(heartbeat, clock)
        heartbeat.check()
        assert len(leases.renewed) == 1
        clock.now += RETRY_RENEWAL_AFTER
        leases.error = None
        heartbeat.check()
        heartbeat.check()
    assert len(leases.renewed) == 2
    assert thread.reasons == []


def test_an_interruption_that_comes_too_late_for_its_job_does_not_hit_the_next(
    heartbeat: Heartbeat, clock: Clock, leases: Leases, running: RunningAttempts, thread: Remembering
) -> None:
    job, attempts = make_attempted(), []
    attempts.append(running.attempt(job, thread, 0))
    attempts.append(running.attempt(make_attempted(), thread, 0))

    def end_and_begin_the_next() -> None:
        attempts[0].__exit__(None, None, None)
        attempts[1].__enter__()

    leases.lost, leases.before_answer = {job.pk}, end_and_begin_the_next
    attempts[0].__enter__()
    beat(heartbeat, clock)
    attempts[1].__exit__(None, None, None)
    assert thread.reasons == []


def test_the_buffer_is_flushed_when_two_checks_find_the_same_job_running(
    heartbeat: Heartbeat,
    running: RunningAttempts,
    buffer: WorkBuffer,
    thread: Remembering,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flushed: list[bool] = []
    monkeypatch.setattr(buffer, "flush", lambda: flushed.append(True))
    buffer.add_result(make_attempted(), "done")
    for _ in range(3):
        with running.attempt(make_attempted(), thread, 0):
            heartbeat.check()
    assert flushed == []
    with running.attempt(make_attempted(), thread, 0):
        heartbeat.check()
        heartbeat.check()
    assert flushed == [True]


def test_leases_are_renewed_even_if_the_buffer_cannot_be_flushed(
    heartbeat: Heartbeat,
    clock: Clock,
    leases: Leases,
    running: RunningAttempts,
    buffer: WorkBuffer,
    thread: Remembering,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(buffer, "flush", lambda: 1 / 0)
    buffer.add_result(make_attempted(), "done")
    with running.attempt(make_attempted(), thread, 0):
        heartbeat.check()
        beat(heartbeat, clock)
    assert len(leases.renewed) == 1


def test_progress_is_shown_once_and_then_when_it_changes(
    heartbeat: Heartbeat, leases: Leases, running: RunningAttempts, thread: Remembering
) -> None:
    job = make_attempted()
    with running.attempt(job, thread, 0), running.attempt(make_attempted(), Remembering(), 1):
        heartbeat.check()
        for percent in (10, 20):
            job.progress = {"percent": percent}
            heartbeat.check()
            heartbeat.check()
    assert leases.shown == [{job.pk: {"percent": 10}}, {job.pk: {"percent": 20}}]


def test_the_progress_of_a_short_job_is_left_to_its_outcome(
    heartbeat: Heartbeat, leases: Leases, running: RunningAttempts
) -> None:
    for _ in range(3):
        job = make_attempted()
        with running.attempt(job, Remembering(), 0):
            job.progress = {"percent": 10}
            heartbeat.check()
    assert leases.shown == []


def test_two_checks_take_less_than_a_fifth_of_a_second() -> None:
    assert 2 * heartbeat_module.CHECK_EVERY < 0.2


def test_progress_that_could_not_be_shown_is_shown_later(
    heartbeat: Heartbeat, leases: Leases, running: RunningAttempts, thread: Remembering
) -> None:
    job, leases.error = make_attempted(), OperationalError("away")
    with running.attempt(job, thread, 0):
        job.progress = {"percent": 10}
        heartbeat.check()
        heartbeat.check()
        leases.error = None
        heartbeat.check()
        heartbeat.check()
    assert leases.shown == [{job.pk: {"percent": 10}}] * 2


@pytest.fixture
def beating(monkeypatch: pytest.MonkeyPatch, running: RunningAttempts, buffer: WorkBuffer) -> Iterator[Heartbeat]:
    """A real thread, which beats quickly."""
    monkeypatch.setattr(heartbeat_module, "RENEW_EVERY", 0.02)
    monkeypatch.setattr(heartbeat_module, "RETRY_RENEWAL_AFTER", 0.02)
    monkeypatch.setattr(heartbeat_module, "CHECK_EVERY", 0.005)
    heartbeat = Heartbeat(WORKER, running, buffer)
    heartbeat.start()
    yield heartbeat
    assert heartbeat.is_alive(), "the heartbeat has stopped for good"
    disconnect(heartbeat)


@pytest.mark.parametrize("error", [Job.DoesNotExist("deleted meanwhile"), TypeError("a bug"), MemoryError()])
def test_no_error_of_a_renewal_leaves_later_jobs_without_a_heartbeat(
    leases: Leases, beating: Heartbeat, running: RunningAttempts, thread: Remembering, error: Exception
) -> None:
    leases.error = error
    with running.attempt(make_attempted(), thread, 0):
        eventually(lambda: leases.renewed, SOON)
    leases.error, following = None, make_attempted()
    with running.attempt(following, thread, 0):
        eventually(lambda: leases.renewed.count({following.pk}) >= 2, SOON)


@pytest.mark.django_db(transaction=True)
def test_a_real_result_beside_a_long_job_is_written_as_soon_as_the_database_is_back(
    beating: Heartbeat,
    running: RunningAttempts,
    buffer: WorkBuffer,
    thread: Remembering,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, away = buffer.write_results, iter(range(3))

    def write_when_it_is_back() -> None:
        if next(away, None) is not None:
            raise OperationalError("away")
        write()

    monkeypatch.setattr(buffer, "write_results", write_when_it_is_back)
    done, long = make_job(Status.RUNNING), make_job(Status.RUNNING)
    buffer.add_result(done, "done")
    with running.attempt(long, thread, 0):
        eventually(lambda: row(done)["status"] == Status.SUCCEEDED, SOON)


@pytest.mark.django_db(transaction=True)
def test_a_real_job_is_renewed_shows_its_progress_and_learns_of_its_cancellation(
    beating: Heartbeat, running: RunningAttempts
) -> None:
    job, main = make_job(Status.RUNNING, lease_expires_at=timezone.now()), MainThread()
    job.progress = {"percent": 50, "message": "half"}

    def handler() -> None:
        eventually(lambda: row(job)["progress"]["percent"] == 50, SOON)
        eventually(lambda: row(job)["lease_expires_at"] > timezone.now() + LEASE / 2, SOON)
        Job.objects.get(pk=job.pk).cancel()
        threading.Event().wait(LONG)

    with checking_timeouts(main), pytest.raises(Cancelled), running.attempt(job, main, 0):
        main.call(handler, LONG)


@pytest.mark.django_db(transaction=True)
def test_a_real_job_whose_lease_was_taken_away_is_abandoned(beating: Heartbeat, running: RunningAttempts) -> None:
    job, main = make_job(Status.RUNNING), MainThread()

    def handler() -> None:
        Job.objects.update(attempt=2)
        threading.Event().wait(LONG)

    with checking_timeouts(main), pytest.raises(Abandoned), running.attempt(job, main, 0):
        main.call(handler, LONG)


def test_a_stop_waits_for_what_the_heartbeat_is_just_writing(
    leases: Leases, running: RunningAttempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, go_on, order = threading.Event(), threading.Event(), []

    class SlowBuffer(WorkBuffer):
        empty = False

        def flush(self) -> None:
            writing.set()
            assert go_on.wait(LONG)
            order.append("written")

    def stop() -> None:
        heartbeat.stop()
        order.append("stopped")

    monkeypatch.setattr(heartbeat_module, "connections", SimpleNamespace(close_all=lambda: None))
    heartbeat, stopper = Heartbeat(WORKER, running, SlowBuffer(WORKER)), threading.Thread(target=stop)
    with running.attempt(make_attempted(), Remembering(), 0):
        heartbeat.start()
        assert writing.wait(LONG)
        stopper.start()
        stopper.join(0.2)  # time for a stop that does not wait
        go_on.set()
        stopper.join(LONG)

    assert order == ["written", "stopped"]
