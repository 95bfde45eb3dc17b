"""What becomes of the jobs of a process that died, when the next one takes its place."""

from typing import Any

import pytest
from django.db import connection

from jobs.models import Job
from jobs.models.states import Status
from jobs.run import Run
from jobs.worker.rescue import take_over
from jobs.worker.watchdog import JobIds, Predecessor
from tests.support.claims import claim_jobs
from tests.support.concurrency import locked_elsewhere
from tests.support.factories import make_job, make_kind, row

pytestmark = pytest.mark.django_db

DEAD = "here:0"


def make_running(**fields: Any) -> Job:
    return make_job(Status.RUNNING, **{"worker": DEAD} | fields)


def ids(*jobs: Job) -> JobIds:
    return frozenset(job.pk for job in jobs)


def errors(job: Job) -> list[str]:
    return [error["type"] for error in row(job)["errors"]]


def test_the_job_for_which_its_process_was_killed_has_timed_out() -> None:
    job = make_running(timeout=7)
    take_over(Predecessor(DEAD, timed_out=ids(job)))
    assert (row(job)["status"], row(job)["attempt"], errors(job)) == (Status.RETRYING, 1, ["TimedOut"])
    assert "7 s" in row(job)["errors"][0]["message"]


def test_a_job_that_may_have_ended_its_process_has_lost_an_attempt_and_runs_again_at_once() -> None:
    job = make_running()
    take_over(Predecessor(DEAD, lost=ids(job)))
    assert (row(job)["attempt"], errors(job)) == (1, ["WorkerLost"])
    Job.objects.queue_due()
    assert claim_jobs("here:1") == [job]


def test_a_job_that_may_have_ended_its_process_once_too_often_fails() -> None:
    job = make_running(attempt=3, max_attempts=3)
    take_over(Predecessor(DEAD, lost=ids(job)))
    assert row(job)["status"] == Status.FAILED


def test_a_job_that_did_not_end_its_process_is_handed_back_without_consuming_an_attempt() -> None:
    culprit, innocent, claimed = make_running(), make_running(), make_running(attempt=3, max_attempts=3)
    take_over(Predecessor(DEAD, timed_out=ids(culprit)))
    assert [(row(job)["status"], row(job)["attempt"], errors(job)) for job in (innocent, claimed)] == [
        (Status.QUEUED, 0, []),
        (Status.QUEUED, 2, []),
    ]


@pytest.mark.parametrize("role", ["timed_out", "lost", "innocent"])
def test_a_job_that_was_to_be_cancelled_is_cancelled(role: str) -> None:
    job = make_running(cancel_requested=True)
    take_over(Predecessor(DEAD, **({} if role == "innocent" else {role: ids(job)})))
    assert row(job)["status"] == Status.CANCELLED


def test_jobs_of_other_processes_and_jobs_that_have_ended_are_left_alone() -> None:
    jobs = [
        make_running(worker="here:1"),
        make_running(worker=f"{DEAD}0"),
        make_job(Status.SUCCEEDED, worker=DEAD),
        make_job(Status.QUEUED, worker=DEAD),
    ]
    before = [row(job) for job in jobs]
    take_over(Predecessor(DEAD, timed_out=ids(jobs[0]), lost=ids(*jobs[1:])))
    assert [row(job) for job in jobs] == before


@pytest.mark.parametrize("role", ["lost", "innocent"])
def test_any_number_of_jobs_is_taken_over(role: str) -> None:
    jobs = [make_running() for _ in range(150)]
    take_over(Predecessor(DEAD, lost=ids(*jobs) if role == "lost" else frozenset()))
    assert not Job.objects.running_on(DEAD).exists()
    attempts = {(job.attempt, len(job.errors)) for job in Job.objects.all()}
    assert attempts == {(1, 1) if role == "lost" else (0, 0)}


def test_a_job_of_a_kind_that_this_process_does_not_know_is_taken_over_too() -> None:
    job = make_running(kind="removed.kind")
    take_over(Predecessor(DEAD, lost=ids(job)))
    assert errors(job) == ["WorkerLost"]


def test_a_job_that_is_taken_over_in_its_last_attempt_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def handler(run: Run) -> None:
        raise NotImplementedError

    make_kind(monkeypatch, handler)
    job = make_running(kind="test.kind", max_attempts=1)
    take_over(Predecessor(DEAD, timed_out=ids(job)))
    assert (row(job)["status"], errors(job)) == (Status.FAILED, ["TimedOut"])


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite locks the database, never a row.")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("role", ["lost", "innocent"])
def test_a_row_that_somebody_else_has_locked_is_not_waited_for_and_keeps_its_attempt(role: str) -> None:
    locked, free = make_running(), make_running()
    with locked_elsewhere(locked):
        take_over(Predecessor(DEAD, lost=ids(locked, free) if role == "lost" else frozenset()))
    assert row(free)["status"] == (Status.RETRYING if role == "lost" else Status.QUEUED)
    assert (row(locked)["status"], row(locked)["attempt"]) == (Status.RUNNING, 1)
