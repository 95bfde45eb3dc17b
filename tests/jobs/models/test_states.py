"""The state machine: every verb in every state, and that a refused verb leaves no trace."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from jobs.errors import AlreadyFinished, LeaseLost, NotRestartable
from jobs.models import Job, states
from jobs.models.states import TRANSITIONS, Status
from tests.support.claims import claim_jobs
from tests.support.factories import WORKER, make_error, make_job, row

SCHEDULED, QUEUED, RUNNING, RETRYING, SUCCEEDED, FAILED, CANCELLED = Status
HOUR = timedelta(hours=1)

VERBS: dict[str, Callable[[Job], object]] = {
    "succeed": lambda job: job.succeed({"answer": 42}),
    "fail": lambda job: job.fail(make_error()),
    "retry": lambda job: job.retry(make_error(), timezone.now() + HOUR),
    "finish_cancelled": lambda job: job.finish_cancelled(make_error()),
    "hand_back": lambda job: job.hand_back(),
    "renew_leases": lambda job: Job.objects.renew_leases(WORKER, [job]),
    "show_progress": lambda job: Job.objects.show_progress(WORKER, [job]),
    "cancel": lambda job: job.cancel(),
    "restart": lambda job: job.restart(),
    "claim": lambda job: claim_jobs("there:2"),
    "queue_due": lambda job: (
        Job.objects.filter(pk=job.pk).update(run_at=timezone.now() - HOUR) and Job.objects.queue_due()
    ),
}

WORKS: dict[str, dict[Status, Status]] = {
    "succeed": {RUNNING: SUCCEEDED},
    "fail": {RUNNING: FAILED},
    "retry": {RUNNING: RETRYING},
    "finish_cancelled": {RUNNING: CANCELLED},
    "hand_back": {RUNNING: QUEUED},
    "renew_leases": {RUNNING: RUNNING},
    "show_progress": {RUNNING: RUNNING},
    "cancel": {SCHEDULED: CANCELLED, QUEUED: CANCELLED, RETRYING: CANCELLED, RUNNING: RUNNING, CANCELLED: CANCELLED},
    "restart": {FAILED: QUEUED, CANCELLED: QUEUED},
    "claim": {QUEUED: RUNNING},
    "queue_due": {SCHEDULED: QUEUED, RETRYING: QUEUED},
}
"""In which state a verb does something, and the state that follows."""

REFUSALS = {"cancel": AlreadyFinished, "restart": NotRestartable}
"""What a verb raises in any other state; LeaseLost if it is not named here."""
SILENT = {"renew_leases", "show_progress", "claim", "queue_due"}
"""Verbs that do nothing in any other state, and say nothing."""

EVERY = [(verb, status) for verb in VERBS for status in Status]


@pytest.mark.django_db
@pytest.mark.parametrize(("verb", "status"), [pair for pair in EVERY if pair[1] in WORKS[pair[0]]])
def test_a_verb_leads_where_the_table_says(verb: str, status: Status) -> None:
    job = make_job(status)
    VERBS[verb](job)
    assert row(job)["status"] == WORKS[verb][status]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("verb", "status"), [pair for pair in EVERY if pair[1] not in WORKS[pair[0]] and pair[0] not in SILENT]
)
def test_a_verb_that_its_state_does_not_allow_is_refused_and_changes_nothing(verb: str, status: Status) -> None:
    job = make_job(status)
    before = row(job)
    with pytest.raises(REFUSALS.get(verb, LeaseLost)):
        VERBS[verb](job)
    assert row(job) == before


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("verb", "status"), [pair for pair in EVERY if pair[1] not in WORKS[pair[0]] and pair[0] in SILENT]
)
def test_a_verb_on_many_rows_passes_over_those_in_other_states(verb: str, status: Status) -> None:
    job = make_job(status)
    before = row(job)
    job.progress = {"percent": 50, "message": "half"}
    VERBS[verb](job)
    aside = {"run_at": None, "version": None}  # which VERBS[verb] may have changed before
    assert row(job) | aside == before | aside


def test_the_published_transitions_are_those_that_some_verb_makes() -> None:
    made = {(old, new) for verb in WORKS.values() for old, new in verb.items() if old != new}
    made.add((RUNNING, CANCELLED))
    assert made == {(old, new) for old, following in TRANSITIONS.items() for new in following}


@pytest.mark.django_db
@pytest.mark.parametrize("new", Status)
@pytest.mark.parametrize("old", Status)
def test_the_database_itself_allows_these_transitions_and_no_others(old: Status, new: Status) -> None:
    model = row(make_job(new))
    job = make_job(old)
    wanted = {name: model[name] for name in ("status", "started_at", "finished_at", "lease_expires_at")}
    allowed = new == old or new in TRANSITIONS[old]
    with nullcontext() if allowed else pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.filter(pk=job.pk).update(**wanted)
    assert row(job)["status"] == (new if allowed else old)


def test_the_named_sets_agree_with_the_transitions() -> None:
    assert set(TRANSITIONS) == set(Status)
    assert states.TERMINAL | states.WAITING | {RUNNING} == set(Status)
    assert not states.TERMINAL & states.WAITING
    assert {state for state in states.TERMINAL if TRANSITIONS[state]} == states.RESTARTABLE
    assert states.UPCOMING | {QUEUED} == states.WAITING
    assert {state for state in Status if CANCELLED in TRANSITIONS[state]} == set(Status) - states.TERMINAL


@pytest.mark.django_db
def test_success_keeps_the_result_and_shows_a_hundred_percent() -> None:
    job = make_job(RUNNING)
    job.progress = {"percent": 30, "message": "nearly"}
    job.succeed({"answer": 42})
    assert shown(job, "result", "progress", "lease_expires_at", "errors") == {
        "result": {"answer": 42},
        "progress": {"percent": 100, "message": "nearly"},
        "lease_expires_at": None,
        "errors": [],
    }
    assert_finished_now(job)


@pytest.mark.django_db
def test_a_failure_is_added_to_those_before_it() -> None:
    job = make_job(RUNNING, attempt=2, errors=[make_error("first")])
    job.fail(make_error("second", attempt=2))
    assert [(error["attempt"], error["message"]) for error in row(job)["errors"]] == [(1, "first"), (2, "second")]
    assert_finished_now(job)


@pytest.mark.django_db
def test_a_retry_waits_for_its_time_with_its_error_kept() -> None:
    job, when = make_job(RUNNING), timezone.now() + HOUR
    job.retry(make_error("again"), when)
    assert shown(job, "run_at", "lease_expires_at", "finished_at", "attempt") == {
        "run_at": when,
        "lease_expires_at": None,
        "finished_at": None,
        "attempt": 1,
    }
    assert [error["message"] for error in row(job)["errors"]] == ["again"]


@pytest.mark.django_db
def test_a_job_that_is_handed_back_has_its_attempt_left_and_no_progress() -> None:
    job = make_job(RUNNING, attempt=2, progress={"percent": 40, "message": "x"})
    job.hand_back()
    assert shown(job, "attempt", "progress", "lease_expires_at", "errors") == {
        "attempt": 1,
        "progress": {"percent": 0, "message": ""},
        "lease_expires_at": None,
        "errors": [],
    }


@pytest.mark.django_db
@pytest.mark.parametrize("verb", ["hand_back", "retry"])
def test_a_job_whose_cancellation_was_not_seen_yet_does_not_run_again(verb: str) -> None:
    job = make_job(RUNNING)
    make_request_to_cancel(job)
    VERBS[verb](job)
    assert shown(job, "status", "attempt", "lease_expires_at") == {
        "status": CANCELLED,
        "attempt": 1,
        "lease_expires_at": None,
    }
    assert len(row(job)["errors"]) == (1 if verb == "retry" else 0)
    assert_finished_now(job)


@pytest.mark.django_db
@pytest.mark.parametrize("status", sorted(states.WAITING))
def test_a_waiting_job_is_cancelled_at_once(status: Status) -> None:
    job = make_job(status)
    job.cancel()
    assert job.status == CANCELLED
    assert job.cancel_requested
    assert_finished_now(job)


@pytest.mark.django_db
def test_a_running_job_is_told_to_stop_and_learns_of_it_by_its_next_renewal() -> None:
    job, seen_by_worker = make_job(RUNNING), Job.objects.get()
    job.cancel()
    assert shown(job, "status", "cancel_requested", "finished_at") == {
        "status": RUNNING,
        "cancel_requested": True,
        "finished_at": None,
    }
    assert Job.objects.renew_leases(WORKER, [seen_by_worker]).cancelled == {job.pk}


@pytest.mark.django_db
def test_cancelling_again_changes_nothing() -> None:
    job = make_job(QUEUED)
    job.cancel()
    before = row(job)
    job.cancel()
    assert row(job) == before


@pytest.mark.django_db
@pytest.mark.parametrize("status", sorted(states.RESTARTABLE))
def test_a_restarted_job_keeps_counting_its_attempts_with_a_new_budget(status: Status) -> None:
    job = make_job(status, attempt=3, max_attempts=3, budget=3, progress={"percent": 40, "message": "x"})
    errors = row(job)["errors"]
    job.restart()
    assert shown(job, "attempt", "max_attempts", "finished_at", "cancel_requested", "errors", "progress") == {
        "attempt": 3,
        "max_attempts": 6,
        "finished_at": None,
        "cancel_requested": False,
        "errors": errors,
        "progress": {"percent": 0, "message": ""},
    }
    assert [claimed.attempt for claimed in claim_jobs(WORKER)] == [4]


@pytest.mark.django_db
def test_a_restarted_job_with_unlimited_attempts_still_has_no_limit() -> None:
    job = make_job(FAILED, max_attempts=None, budget=None)
    job.restart()
    assert job.max_attempts is None


@pytest.mark.django_db
@pytest.mark.parametrize("status", Status)
def test_a_job_knows_whether_it_is_over(status: Status) -> None:
    job = make_job(status)
    assert job.finished == (status in {SUCCEEDED, FAILED, CANCELLED})
    assert job.waiting == (status in {SCHEDULED, QUEUED, RETRYING})
    assert (job.error is not None) == (status == FAILED)


def shown(job: Job, *names: str) -> dict[str, Any]:
    found = row(job)
    return {name: found[name] for name in names}


def make_request_to_cancel(job: Job) -> None:
    Job.objects.get(pk=job.pk).cancel()


def assert_finished_now(job: Job) -> None:
    assert abs(row(job)["finished_at"] - timezone.now()) < HOUR
