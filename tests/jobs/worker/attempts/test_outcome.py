"""What comes of an attempt: which results can be kept, what is kept of an error, and what follows it."""

import json
import math
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from jobs.errors import PermanentError, Postponed, RetryAfter, TransientError, WorkerLost
from jobs.models import Job
from jobs.models.states import Status
from jobs.retry import MAX_WAIT, Retry, exponential
from jobs.worker.attempts.interrupt import TimedOut
from jobs.worker.attempts.outcome import (
    MESSAGE_LIMIT,
    TRACEBACK_LIMIT,
    UnstorableResult,
    error_entry,
    normalise,
    record_failure,
)
from rest.json_value import LIMIT
from tests.support.factories import make_job, make_kind, row

UUID_TEXT = "0190b8a4-7f3e-7c1a-8d2b-1f2e3d4c5b6a"

KEPT = [
    (None, None),
    ({"a": [1, 2.5, True, None, "x"]}, {"a": [1, 2.5, True, None, "x"]}),
    ((1, 2), [1, 2]),
    ({2: "a", True: "b", None: "c"}, {"2": "a", "true": "b", "null": "c"}),
    (datetime(2026, 3, 1, 12, tzinfo=UTC), "2026-03-01T12:00:00Z"),
    (date(2026, 3, 1), "2026-03-01"),
    (timedelta(minutes=90), "P0DT01H30M00S"),
    (Decimal("1.10"), "1.10"),
    (UUID(UUID_TEXT), UUID_TEXT),
    ("é \U0001f600 \u2028 \x01 \x7f", "é \U0001f600 \u2028 \x01 \x7f"),
    (r"a backslash and \u0000 in letters", r"a backslash and \u0000 in letters"),
    ({r"\\u0000": r"\u0000"}, {r"\\u0000": r"\u0000"}),
    (Status.QUEUED, "queued"),
]

REFUSED = {
    "an object": object(),
    "a set": {1, 2},
    "bytes": b"x",
    "a generator": (number for number in range(3)),
    "NaN": math.nan,
    "infinity in depth": {"a": [1, {"b": -math.inf}]},
    "a key that is no text": {(1, 2): 3},
    "NUL": "a\0b",
    "NUL in depth": {"a": [1, {"b": "\0"}]},
    "NUL in a key": {"a": {"b\0": 1}},
    "NUL beside its letters": [r"\u0000", "\0"],
    "a lone surrogate": "a\ud800b",
    "a lone surrogate in a key": {"\udfff": 1},
    "surrogates the wrong way round": "\udc00\ud800",
    "an integer of 65 bits": 2**64,
    "an integer of five thousand digits": 10**5000,
}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)) | st.uuids(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec=None)), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize(("result", "kept"), KEPT)
def test_a_result_is_kept_as_json_has_it(result: object, kept: object) -> None:
    assert normalise(result) == kept


@pytest.mark.parametrize("result", REFUSED.values(), ids=REFUSED.keys())
def test_a_result_that_the_database_or_the_api_would_choke_on_is_refused(result: object) -> None:
    with pytest.raises(UnstorableResult):
        normalise(result)


def test_a_result_that_contains_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(UnstorableResult):
        normalise(endless)


@pytest.mark.parametrize("depth", [255, 500, 5_000])
@pytest.mark.parametrize("innermost", ["x", "\0"])
def test_a_result_too_deep_to_be_shown_is_refused(depth: int, innermost: str) -> None:
    with pytest.raises(UnstorableResult):
        normalise(make_nested(innermost, depth))


def test_a_result_may_be_as_deep_as_a_request() -> None:
    assert normalise(make_nested("x", 100)) == make_nested("x", 100)


@pytest.mark.parametrize("letter", ["x", "é"])
def test_the_limit_counts_the_bytes_of_the_json_exactly(letter: str) -> None:
    fits = letter * ((LIMIT - 2) // len(json.dumps(letter)[1:-1]))
    fits += "x" * (LIMIT - len(json.dumps(fits)))
    assert normalise(fits) == fits
    with pytest.raises(UnstorableResult, match=f"{LIMIT + 1} bytes of JSON; {LIMIT} may be stored"):
        normalise(fits + "x")


@pytest.mark.django_db
@settings(max_examples=150)
@given(anything)
def test_what_is_storable_is_stored_and_comes_back_equal_and_can_be_shown(result: object) -> None:
    job = Job.objects.first() or make_job(Status.SUCCEEDED)
    try:
        kept = normalise(result)
    except UnstorableResult:
        return
    Job.objects.filter(pk=job.pk).update(result=kept)
    came_back = row(job)["result"]
    assert as_numbers(came_back) == as_numbers(kept)
    assert as_numbers(orjson.loads(orjson.dumps(came_back))) == as_numbers(kept)


@pytest.mark.django_db
@pytest.mark.parametrize("number", [2**63, 2**64 - 1, -(2**63), 1e19, 1e20, 1e23, 1.7e308, -1e30, 5e-324])
def test_a_number_of_any_size_that_is_stored_can_be_shown(number: float) -> None:
    """PostgreSQL gives 1e20 back as an integer, and orjson refuses integers of more than 64 bits."""
    job = make_job(Status.SUCCEEDED, result=normalise({"number": number}), params={"number": number})
    found = row(job)
    assert orjson.loads(orjson.dumps([found["result"], found["params"]])) == [{"number": number}] * 2


def test_an_error_is_described_by_class_message_and_traceback() -> None:
    error = error_entry(make_raised(ValueError("no such region")), attempt=2)
    assert (error["attempt"], error["type"], error["message"]) == (2, "ValueError", "no such region")
    assert "in make_raised" in error["traceback"]
    assert error["traceback"].endswith("ValueError: no such region\n")
    assert error["at"].endswith("Z")
    assert abs(datetime.fromisoformat(error["at"]) - timezone.now()) < timedelta(hours=1)


def test_the_cause_of_an_error_is_in_its_traceback() -> None:
    error = RuntimeError("outer")
    error.__cause__ = KeyError("inner")
    assert "inner" in error_entry(error, 1)["traceback"]


def test_long_messages_keep_their_beginning_and_long_tracebacks_their_end() -> None:
    error = error_entry(make_raised(ValueError("first " + "x" * 50_000 + " last")), 1)
    assert error["message"].startswith("first x")
    assert len(error["message"]) == MESSAGE_LIMIT
    assert error["traceback"].endswith(" last\n")
    assert len(error["traceback"]) == TRACEBACK_LIMIT


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("this error cannot even say what it is")


class Wordless(Exception):
    def __str__(self) -> str:
        return 42  # type: ignore[return-value]


@pytest.mark.parametrize("error", [Mute(), Wordless(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x")])
def test_an_error_that_cannot_be_put_into_words_is_described_nevertheless(error: Exception) -> None:
    assert error_entry(error, 1)["type"] == type(error).__name__


@pytest.mark.django_db
@pytest.mark.parametrize("message", ["a\0b", "a\ud800b", "\udcff", "\U0001f600", "x\0" * 5_000, "\ud800" * 5_000, ""])
def test_what_is_kept_of_an_error_can_always_be_stored_and_shown(message: str) -> None:
    job = make_job(Status.RUNNING)
    job.fail(error_entry(make_raised(ValueError(message)), 1))
    orjson.dumps(row(job)["errors"])


@pytest.mark.django_db
@settings(max_examples=50)
@given(st.text(st.characters(codec=None)))
def test_any_message_can_be_stored(message: str) -> None:
    job = make_job(Status.RUNNING)
    job.fail(error_entry(ValueError(message), 1))
    orjson.dumps(row(job)["errors"])


@pytest.mark.django_db
@pytest.mark.parametrize(
    "error",
    [TransientError("x"), RuntimeError("x"), TimedOut("x"), SystemExit(1), KeyboardInterrupt(), WorkerLost("x")],
)
def test_a_failure_that_may_pass_is_tried_again(error: BaseException) -> None:
    job = make_job(Status.RUNNING)
    record_failure(job, error)
    assert row(job)["status"] == Status.RETRYING
    assert kept_errors(job) == [type(error).__name__]


@pytest.mark.django_db
@pytest.mark.parametrize("error", [PermanentError("x"), UnstorableResult("x"), ValidationError("bad params")])
def test_a_failure_that_cannot_pass_ends_the_job(error: BaseException) -> None:
    job = make_job(Status.RUNNING)
    record_failure(job, error)
    assert row(job)["status"] == Status.FAILED
    assert kept_errors(job) == [type(error).__name__]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("attempt", "max_attempts", "follows"),
    [(1, 3, True), (2, 3, True), (3, 3, False), (4, 3, False), (1, 1, False), (1000, None, True)],
)
def test_the_jobs_own_number_of_attempts_decides_and_not_its_kinds(
    attempt: int, max_attempts: int | None, follows: bool
) -> None:
    job = make_job(Status.RUNNING, attempt=attempt, max_attempts=max_attempts)
    record_failure(job, RuntimeError("x"))
    assert row(job)["status"] == (Status.RETRYING if follows else Status.FAILED)


@pytest.mark.django_db
def test_the_kinds_backoff_says_when(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, retry=exponential(attempts=2, base=1e6, cap=1e6))
    waits = [waited(make_job(Status.RUNNING, kind="test.kind")) for _ in range(20)]
    assert max(waits) > 100_000


@pytest.mark.django_db
def test_the_jobs_own_backoff_comes_before_its_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    make_kind(monkeypatch, lambda run: None, retry=exponential(base=1e6, cap=1e6))
    own = {"attempts": 1, "base": 0.0, "factor": 1.0, "cap": 0.0}
    assert Retry(**own)
    assert waited(make_job(Status.RUNNING, kind="test.kind", backoff=own)) < 5


@pytest.mark.django_db
def test_a_kind_that_this_process_does_not_know_is_tried_again_by_default() -> None:
    assert waited(make_job(Status.RUNNING, kind="from.the.next.release")) <= 5


@pytest.mark.django_db
def test_retry_after_says_when_the_next_attempt_is_due() -> None:
    assert 540 < waited(make_job(Status.RUNNING), RetryAfter(600)) <= 600


@pytest.mark.django_db
@pytest.mark.parametrize(("max_attempts", "then"), [(1, 2), (2, 3), (None, None)])
def test_a_postponed_attempt_does_not_count(max_attempts: int | None, then: int | None) -> None:
    job = make_job(Status.RUNNING, attempt=1, max_attempts=max_attempts)
    assert 540 < waited(job, Postponed(600)) <= 600
    assert (row(job)["attempt"], row(job)["max_attempts"]) == (1, then)
    assert kept_errors(job) == ["Postponed"]


@pytest.mark.django_db
def test_a_postponed_job_whose_cancellation_came_meanwhile_is_cancelled() -> None:
    job = make_job(Status.RUNNING)
    Job.objects.get().cancel()
    record_failure(job, Postponed(600))
    assert row(job)["status"] == Status.CANCELLED


@pytest.mark.django_db
def test_an_attempt_that_was_lost_with_its_worker_keeps_its_place_in_the_line() -> None:
    since = timezone.now() - timedelta(hours=1)
    job = make_job(Status.RUNNING, run_at=since)
    record_failure(job, WorkerLost("here:1"))
    assert (row(job)["status"], row(job)["run_at"]) == (Status.RETRYING, since)


@pytest.mark.django_db
@pytest.mark.parametrize("seconds", [math.inf, 1e12])
def test_an_absurd_time_is_bounded(seconds: float) -> None:
    job = make_job(Status.RUNNING)
    record_failure(job, RetryAfter(seconds))
    wait = row(job)["run_at"] - timezone.now()
    assert row(job)["status"] == Status.RETRYING
    assert MAX_WAIT - 60 < wait.total_seconds() <= MAX_WAIT


@pytest.mark.django_db
def test_a_time_that_is_no_number_is_replaced_by_the_policy_s() -> None:
    job = make_job(Status.RUNNING, backoff=asdict(exponential(base=7.0, factor=1.0)))
    record_failure(job, RetryAfter(math.nan))
    assert row(job)["status"] == Status.RETRYING
    assert row(job)["run_at"] <= timezone.now() + timedelta(seconds=7)


@pytest.mark.django_db
@pytest.mark.parametrize("error", [RuntimeError("x"), PermanentError("x")])
def test_a_failure_of_a_job_that_is_to_be_cancelled_cancels_it(error: Exception) -> None:
    job = make_job(Status.RUNNING, cancel_requested=True)
    record_failure(job, error)
    assert row(job)["status"] == Status.CANCELLED
    assert kept_errors(job) == [type(error).__name__]


@pytest.mark.django_db
def test_a_cancellation_that_came_after_the_last_heartbeat_is_obeyed_too() -> None:
    job = make_job(Status.RUNNING, errors=[error_entry(ValueError("before"), 1)], attempt=2)
    Job.objects.get().cancel()
    assert not job.cancel_requested
    record_failure(job, RuntimeError("x"))
    assert row(job)["status"] == Status.CANCELLED
    assert kept_errors(job) == ["ValueError", "RuntimeError"]


def kept_errors(job: Job) -> list[str]:
    return [error["type"] for error in row(job)["errors"]]


def waited(job: Job, error: BaseException | None = None) -> float:
    """Seconds until the attempt that follows a failed one."""
    record_failure(job, error or RuntimeError("x"))
    found = row(job)
    assert found["status"] == Status.RETRYING
    return (found["run_at"] - timezone.now()).total_seconds()


def make_raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as raised:
        return raised


def make_nested(innermost: object, depth: int) -> object:
    for _ in range(depth):
        innermost = [innermost]
    return innermost


def as_numbers(value: Any) -> Any:
    """JSON has one type of number, and PostgreSQL writes 1e23 out in full: they are compared as floats."""
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, list):
        return [as_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: as_numbers(item) for key, item in value.items()}
    return value
