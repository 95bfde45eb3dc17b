"""What a worker has in hand, when it cannot be written or handed back as usual."""

from collections.abc import Callable
from typing import Any

import pytest
from django.db import DataError, OperationalError, connection

from jobs.models import Job
from jobs.queue import JobQuerySet
from jobs.states import Status
from tests.make import WORKER, make_job, row

pytestmark = pytest.mark.django_db


def raiser(error: Exception) -> Any:
    def refuse(*args: object) -> None:
        raise error

    return refuse


def make_hand(*jobs: Job) -> Hand:
    hand = Hand(WORKER)
    for job in jobs:
        hand.succeed(job, {"done": True})
    return hand


def test_a_result_that_the_database_refuses_fails_its_own_job_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    bad, good = make_job(Status.RUNNING), make_job(Status.RUNNING)
    hand = make_hand(bad, good)
    monkeypatch.setattr(JobQuerySet, "succeed_many", raiser(DataError("one of them")))
    monkeypatch.setattr(bad, "succeed", raiser(DataError("this one")))
    hand.write()
    assert (row(bad)["status"], row(good)["status"]) == (Status.FAILED, Status.SUCCEEDED)
    assert row(bad)["errors"][-1]["type"] == "UnstorableResult"
    assert hand.unwritten == []


def test_results_stay_in_hand_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    job = make_job(Status.RUNNING)
    hand = make_hand(job)
    with monkeypatch.context() as outage:
        outage.setattr(JobQuerySet, "succeed_many", raiser(OperationalError("away")))
        with pytest.raises(OperationalError):
            hand.write()
    assert hand.unwritten == [str(job.pk)]
    hand.write()
    assert row(job)["status"] == Status.SUCCEEDED


def test_what_has_not_begun_stays_in_hand_while_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make_job(Status.RUNNING), make_job(Status.RUNNING)
    hand = Hand(WORKER)
    hand.claim([first, second])
    with monkeypatch.context() as outage:
        outage.setattr(JobQuerySet, "hand_back_many", raiser(OperationalError("away")))
        with pytest.raises(OperationalError):
            hand.put_down()
    assert [hand.next(), hand.next(), hand.next()] == [first, second, None]


def test_what_is_put_down_is_queued_again_with_its_attempt() -> None:
    job, unwanted = make_job(Status.RUNNING, attempt=1), make_job(Status.RUNNING, attempt=1, cancel_requested=True)
    hand = Hand(WORKER)
    hand.claim([job, unwanted])
    hand.put_down()
    assert (row(job)["status"], row(job)["attempt"]) == (Status.QUEUED, 0)
    assert row(unwanted)["status"] == Status.CANCELLED
    assert hand.empty


def test_what_is_handed_back_and_claimed_again_at_once_is_not_given_up() -> None:
    job = make_job(Status.RUNNING)
    hand = Hand(WORKER)
    hand.claim([job])

    def claim_before_anything_is_read(
        execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]
    ) -> Any:
        done = execute(sql, params, many, context)
        if sql.startswith("UPDATE") and "cancel_requested" in sql:
            claimed.extend(Job.objects.claim(WORKER))
        return done

    claimed: list[Job] = []
    with connection.execute_wrapper(claim_before_anything_is_read):
        hand.put_down()
    assert claimed == [job]
    assert (row(job)["status"], row(job)["attempt"]) == (Status.RUNNING, 1)
