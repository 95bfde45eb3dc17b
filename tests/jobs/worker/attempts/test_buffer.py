"""Claimed jobs and unwritten results of a worker, when they cannot be written or handed back as usual."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection

from jobs.models import Job
from jobs.models.queryset import JobQuerySet
from jobs.models.states import Status
from jobs.worker.attempts import buffer as buffer_module
from jobs.worker.attempts.buffer import MAX_RESULTS, MAX_WRITE_DELAY, START_WITHIN, WorkBuffer
from tests.support.claims import claim_jobs
from tests.support.concurrency import locked_elsewhere
from tests.support.factories import WORKER, make_job, row
from tests.support.fakes import Clock, make_attempted

pytestmark = pytest.mark.django_db


def raiser(error: Exception) -> Any:
    def refuse(*args: object) -> None:
        raise error

    return refuse


def make_buffer(*jobs: Job) -> WorkBuffer:
    """A buffer with a result for each of these jobs."""
    buffer = WorkBuffer(WORKER)
    for job in jobs:
        buffer.add_result(job, {"done": True})
    return buffer


def test_a_result_that_the_database_refuses_fails_its_own_job_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = make_job(Status.RUNNING), make_job(Status.RUNNING)
    buffer = make_buffer(bad, good)
    monkeypatch.setattr(JobQuerySet, "succeed_many", raiser(DataError("one of them")))
    monkeypatch.setattr(bad, "succeed", raiser(DataError("this one")))
    buffer.write_results()
    assert (row(bad)["status"], row(good)["status"]) == (Status.FAILED, Status.SUCCEEDED)
    assert row(bad)["errors"][-1]["type"] == "UnstorableResult"
    assert buffer.unwritten_job_ids == []


def test_results_stay_buffered_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(Status.RUNNING)
    buffer = make_buffer(job)
    with monkeypatch.context() as outage:
        outage.setattr(JobQuerySet, "succeed_many", raiser(OperationalError("away")))
        with pytest.raises(OperationalError):
            buffer.write_results()
    assert buffer.unwritten_job_ids == [str(job.pk)]
    buffer.write_results()
    assert row(job)["status"] == Status.SUCCEEDED


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks the database, never a row.")
@pytest.mark.django_db(transaction=True)
def test_a_locked_row_keeps_only_its_own_result_from_being_written() -> None:
    locked, free, lost, not_started = [make_job(Status.RUNNING) for _ in range(4)]
    buffer = make_buffer(locked, free, Job(pk=lost.pk, attempt=0, worker=WORKER))
    buffer.add_claimed([not_started], since=time.monotonic())
    with locked_elsewhere(locked), pytest.raises(OperationalError):
        buffer.write_results()
    assert [row(job)["status"] for job in (locked, free)] == [Status.RUNNING, Status.SUCCEEDED]
    assert [row(job)["status"] for job in (lost, not_started)] == [Status.RUNNING, Status.QUEUED]
    assert buffer.unwritten_job_ids == [str(locked.pk)]
    buffer.write_results()
    assert (row(locked)["status"], buffer.empty) == (Status.SUCCEEDED, True)


def test_what_was_not_started_stays_buffered_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make_job(Status.RUNNING), make_job(Status.RUNNING)
    buffer = WorkBuffer(WORKER)
    buffer.add_claimed([first, second], since=time.monotonic())
    with monkeypatch.context() as outage:
        outage.setattr(JobQuerySet, "hand_back_many", raiser(OperationalError("away")))
        with pytest.raises(OperationalError):
            buffer.flush()
    assert [buffer.next_claimed(), buffer.next_claimed(), buffer.next_claimed()] == [first, second, None]


def test_what_is_flushed_is_queued_again_with_its_attempt() -> None:
    job, unwanted = make_job(Status.RUNNING, attempt=1), make_job(Status.RUNNING, attempt=1, cancel_requested=True)
    buffer = WorkBuffer(WORKER)
    buffer.add_claimed([job, unwanted], since=time.monotonic())
    buffer.flush()
    assert (row(job)["status"], row(job)["attempt"]) == (Status.QUEUED, 0)
    assert row(unwanted)["status"] == Status.CANCELLED
    assert not buffer.has_claimed


def test_what_is_handed_back_and_claimed_again_at_once_is_not_given_up() -> None:
    job = make_job(Status.RUNNING)
    buffer = WorkBuffer(WORKER)
    buffer.add_claimed([job], since=time.monotonic())

    def claim_before_anything_is_read(
        execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        done = execute(sql, params, many, context)
        if sql.startswith("UPDATE") and "cancel_requested" in sql:
            claimed.extend(claim_jobs(WORKER))
        return done

    claimed: list[Job] = []
    with connection.execute_wrapper(claim_before_anything_is_read):
        buffer.flush()
    assert claimed == [job]
    assert (row(job)["status"], row(job)["attempt"]) == (Status.RUNNING, 1)


@pytest.mark.parametrize(("passed", "started"), [(START_WITHIN - 1, True), (START_WITHIN + 1, False)])
def test_what_was_claimed_before_a_freeze_is_handed_back_and_not_started(
    monkeypatch: pytest.MonkeyPatch, passed: float, started: bool
) -> None:
    """The lease of such a job may be lost, and another worker may be running it."""
    clock = Clock()
    monkeypatch.setattr(buffer_module, "time", clock)
    jobs = [make_job(Status.RUNNING) for _ in range(2)]
    buffer = WorkBuffer(WORKER)
    buffer.add_claimed(jobs, since=clock.now)
    clock.now += passed
    assert buffer.next_claimed() == (jobs[0] if started else None)
    assert buffer.has_claimed
    buffer.flush()
    assert not buffer.has_claimed
    assert [row(job)["status"] for job in jobs] == [Status.RUNNING if started else Status.QUEUED, Status.QUEUED]


def test_a_buffer_of_results_is_full_when_as_many_wait_as_are_written_at_once() -> None:
    buffer = make_buffer(*[make_attempted() for _ in range(MAX_RESULTS - 1)])
    assert not buffer.full
    buffer.add_result(make_attempted(), "one more")
    assert buffer.full


def test_a_result_whose_lease_is_lost_is_dropped() -> None:
    job = make_job(Status.RUNNING, attempt=2)
    buffer = make_buffer(Job(pk=job.pk, attempt=1, worker=WORKER))
    buffer.write_results()
    assert (row(job)["status"], buffer.unwritten_job_ids) == (Status.RUNNING, [])


def test_a_result_is_overdue_when_it_has_waited_for_the_longest_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(buffer_module, "time", clock)
    first, second = make_job(Status.RUNNING), make_job(Status.RUNNING)
    buffer = make_buffer(first)
    assert not buffer.overdue
    clock.now += MAX_WRITE_DELAY / 2
    buffer.add_result(second, {})
    assert not buffer.overdue
    clock.now += MAX_WRITE_DELAY
    assert buffer.overdue
    buffer.write_results()
    assert not buffer.overdue
