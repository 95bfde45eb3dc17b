"""The way in: what submit() stores, what it refuses, and that one unique_key makes one job."""

import math
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
import structlog
from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError, connection, connections
from django.utils import timezone
from rest_framework import serializers

from jobs.errors import UniqueKeyTaken
from jobs.models import Job
from jobs.models.queue import clock
from jobs.models.states import Status
from jobs.priorities import OWN_PRIORITY
from jobs.registry import UnknownKind
from jobs.retry import exponential
from jobs.submit import build, submit, submit_many
from rest.requests.strict import StrictSerializer
from tests.support.claims import claim_jobs
from tests.support.factories import WORKER, clock_wrong_by, make_job, make_kind, make_user, row
from tests.support.timeouts import PATIENCE

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
YEAR_ONE = datetime(1, 1, 1, tzinfo=UTC)


class DayParams(StrictSerializer):
    day = serializers.DateField()
    ref = serializers.UUIDField(required=False)


def test_a_job_takes_its_defaults_from_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, timeout=77, retry=exponential(attempts=7), queue="slow")
    found = row(submit("test.kind"))
    expected = {"kind": "test.kind", "params": {}, "timeout": 77, "max_attempts": 7, "budget": 7, "queue": "slow"}
    expected |= {"status": Status.QUEUED, "attempt": 0, "priority": OWN_PRIORITY, "user_id": None, "unique_key": None}
    expected |= {"backoff": None, "errors": [], "result": None, "started_at": None, "finished_at": None, "worker": ""}
    assert {name: found[name] for name in expected} == expected
    assert found["run_at"] == found["created_at"]
    assert abs(found["created_at"] - timezone.now()) < HOUR


def test_a_job_has_the_options_that_it_was_given() -> None:
    user, when = make_user(), timezone.now() + HOUR
    told: dict[str, Any] = {"run_at": when, "priority": 5, "timeout": 9, "max_attempts": 2, "unique_key": "nightly"}
    job = submit("demo.countdown", {"seconds": 3}, user=user, **told)
    found = row(job)
    assert {name: found[name] for name in told} == told
    assert (found["params"], found["user_id"], found["budget"]) == ({"seconds": 3}, user.pk, 2)


def test_a_job_may_have_a_backoff_of_its_own() -> None:
    job = submit("demo.countdown", {"seconds": 0}, retry=exponential(attempts=9, base=2, cap=4))
    assert row(job)["backoff"] == {"attempts": 9, "base": 2, "factor": 2.0, "cap": 4}
    assert row(job)["max_attempts"] == row(job)["budget"] == 9


def test_a_job_with_unlimited_attempts_has_no_number_of_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, retry=exponential(attempts=None))
    job = submit("test.kind")
    assert (job.max_attempts, job.budget) == (None, None)


@pytest.mark.parametrize(
    ("ahead", "status"), [(HOUR, Status.SCHEDULED), (-HOUR, Status.QUEUED), (timedelta(0), Status.QUEUED)]
)
def test_a_job_for_later_is_scheduled_and_one_for_now_is_queued(ahead: timedelta, status: str) -> None:
    assert row(submit("demo.countdown", {"seconds": 0}, run_at=timezone.now() + ahead))["status"] == status


@pytest.mark.parametrize("past", [YEAR_ONE, timezone.now() - HOUR])
def test_a_job_with_a_past_run_at_goes_before_no_job_that_was_created_earlier(past: datetime) -> None:
    first = submit("demo.countdown", {"seconds": 0})
    alone = submit("demo.countdown", {"seconds": 0}, run_at=past)
    [many] = submit_many("demo.countdown", [{"seconds": 0}], run_at=past)
    claimed = [claim_jobs(WORKER)[0].pk for _ in range(3)]
    assert claimed == [first.pk, alone.pk, many]
    assert row(alone)["run_at"] == row(alone)["created_at"] == alone.run_at


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has the machine's own clock.")
@pytest.mark.parametrize("skew", [-HOUR, HOUR])
@pytest.mark.parametrize(("ahead", "status"), [(HOUR / 2, Status.SCHEDULED), (-HOUR / 2, Status.QUEUED)])
def test_a_machine_whose_clock_is_wrong_starts_no_job_before_its_time_and_none_late(
    monkeypatch: pytest.MonkeyPatch, skew: timedelta, ahead: timedelta, status: str
) -> None:
    run_at = timezone.now() + ahead
    with clock_wrong_by(monkeypatch, skew):
        job = submit("demo.countdown", {"seconds": 0}, run_at=run_at)
    found = row(job)
    assert found["status"] == status
    assert found["run_at"] == (run_at if status == Status.SCHEDULED else found["created_at"])


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite has the machine's own clock.")
def test_many_jobs_for_later_ask_for_the_databases_time_once_a_second(django_assert_max_num_queries: Any) -> None:
    with django_assert_max_num_queries(1 + PATIENCE):
        for _ in range(500):
            build("demo.countdown", {"seconds": 0}, run_at=timezone.now() + HOUR)


def test_the_databases_time_goes_on_between_two_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "CACHE_SECONDS", math.inf)
    first = clock.database_now()
    while clock.database_now() <= first:
        assert timezone.now() - first < HOUR
    assert clock.database_now() - first < HOUR


def test_the_returned_job_equals_the_stored_row() -> None:
    job = submit("demo.countdown", {"seconds": 0}, run_at=timezone.now() - HOUR)
    found = row(job)
    del found["version"]  # only the row has it: the database sets it
    assert {name: getattr(job, name) for name in found} == found


def test_params_are_stored_as_json_and_reach_the_handler_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    kind = make_kind(monkeypatch, lambda run: None, params=DayParams)
    ref = UUID(int=7)
    job = submit("test.kind", {"day": date(2026, 3, 1), "ref": ref})
    assert job.params == row(job)["params"] == {"day": "2026-03-01", "ref": str(ref)}
    assert kind.handler_arguments(row(job)["params"]) == {"day": date(2026, 3, 1), "ref": ref}


def test_the_request_that_a_job_came_from_is_remembered() -> None:
    with structlog.contextvars.bound_contextvars(request_id="abc"):
        assert row(submit("demo.countdown", {"seconds": 0}))["request_id"] == "abc"


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UnknownKind):
        submit("no.such", {})
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    "params",
    [None, {}, [], "x", {"seconds": -1}, {"seconds": "soon"}, {"seconds": 1, "minutes": 2}, {"seconds": float("nan")}],
)
def test_bad_params_are_refused_before_anything_is_stored(params: Any) -> None:
    with pytest.raises(serializers.ValidationError):
        submit("demo.countdown", params)
    assert not Job.objects.exists()


@pytest.mark.parametrize("text", ["\0", "a\ud800", "x" * 300_000])
def test_params_that_cannot_be_stored_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    class Loose(serializers.Serializer[Any]):
        anything = serializers.JSONField()

    make_kind(monkeypatch, lambda run: None, params=Loose)
    with pytest.raises(serializers.ValidationError):
        submit("test.kind", {"anything": {"deep": [text]}})
    with pytest.raises(serializers.ValidationError):
        submit("test.kind", {"anything": {text: 1}})
    assert not Job.objects.exists()


@pytest.mark.parametrize("owner", ["ada", None])
def test_a_unique_key_that_is_taken_names_its_holder(owner: str | None) -> None:
    user = owner and make_user(owner)
    holder = submit("demo.countdown", {"seconds": 0}, user=user, unique_key="nightly")
    make_job(unique_key="nightly", user=make_user("grace"))
    with pytest.raises(UniqueKeyTaken, match=str(holder.pk)) as taken:
        submit("demo.countdown", {"seconds": 0}, user=user, unique_key="nightly")
    assert taken.value.job_id == holder.pk
    assert Job.objects.count() == 2


def test_a_unique_key_may_be_used_again_when_its_job_has_finished() -> None:
    submit("demo.countdown", {"seconds": 0}, unique_key="nightly").cancel()
    assert submit("demo.countdown", {"seconds": 0}, unique_key="nightly")


def test_a_unique_key_that_becomes_free_during_the_lookup_of_its_holder_goes_to_the_new_job() -> None:
    holder = submit("demo.countdown", {"seconds": 0}, unique_key="nightly")
    ended = []

    def finish_first(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        if sql.startswith("SELECT") and not ended:
            ended.append(True)
            holder.cancel()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(finish_first):
        job = submit("demo.countdown", {"seconds": 0}, unique_key="nightly")
    assert ended
    assert row(job)["status"] == Status.QUEUED


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("unique_key", [None, "nightly"])
def test_other_errors_of_the_database_are_not_taken_for_a_unique_key(unique_key: str | None) -> None:
    deleted = User(pk=4711)
    with connection.execute_wrapper(no_more_than(50)), pytest.raises(IntegrityError):
        submit("demo.countdown", {"seconds": 0}, user=deleted, unique_key=unique_key)
    assert not Job.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_submits_at_once_with_one_unique_key_one_gets_the_job() -> None:
    user, together = make_user(), threading.Barrier(4)
    outcomes: list[UUID | None] = []

    def post() -> None:
        together.wait()
        try:
            outcomes.append(try_until_unlocked(user))
        except UniqueKeyTaken as taken:
            outcomes.append(taken.job_id)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=post) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert outcomes == [Job.objects.get().pk] * 4


def no_more_than(statements: int) -> Callable[..., Any]:
    """An execute wrapper that fails after so many statements, instead of an endless loop."""

    def count(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: dict[str, Any]) -> Any:
        nonlocal statements
        statements -= 1
        assert statements > 0, "this goes on for ever"
        return execute(sql, params, many, context)

    return count


def try_until_unlocked(user: User) -> UUID:
    """SQLite in memory refuses at once where it would wait in a file."""
    while True:
        try:
            return submit("demo.countdown", {"seconds": 0}, user=user, unique_key="nightly").pk
        except OperationalError as error:
            if "locked" not in str(error):
                raise
