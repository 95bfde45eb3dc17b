"""When a failed attempt is followed by another: properties of a pure function."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.errors import PermanentError, Postponed, RetryAfter, TransientError, WorkerLost
from jobs.retry import Retry, exponential, next_run
from jobs.worker.attempts.interrupt import TimedOut

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
A_BIT_LESS_THAN_ONE = 1 - 2**-53

numbers = st.integers(min_value=1, max_value=2**31 - 1)
waits = st.floats(min_value=0, max_value=1e6)
jitters = st.floats(min_value=0, max_value=1, exclude_max=True)
policies = st.builds(
    Retry, attempts=st.none() | numbers, base=waits, factor=st.floats(min_value=1, max_value=1000), cap=waits
)
endless = policies.map(lambda policy: Retry(None, policy.base, policy.factor, policy.cap))
failures = st.sampled_from([TransientError(), RuntimeError("x"), TimedOut("x"), KeyError("x"), SystemExit(1)])


@given(policies, numbers, failures | waits.map(RetryAfter), jitters)
def test_the_next_attempt_is_never_before_now(policy: Retry, attempt: int, error: BaseException, jitter: float) -> None:
    when = next_run(policy, attempt, error, NOW, lambda: jitter)
    assert when is None or when >= NOW


@given(endless, numbers, failures, jitters)
def test_backoff_never_goes_beyond_the_cap(policy: Retry, attempt: int, error: BaseException, jitter: float) -> None:
    assert waited(policy, attempt, error, jitter) <= policy.cap + 1e-6


@given(endless, st.integers(min_value=1, max_value=40), failures, jitters)
def test_jitter_is_full_from_nothing_to_the_exponential_bound(
    policy: Retry, attempt: int, error: BaseException, jitter: float
) -> None:
    bound = min(policy.cap, policy.base * policy.factor ** (attempt - 1))
    assert waited(policy, attempt, error, 0) == 0
    assert waited(policy, attempt, error, A_BIT_LESS_THAN_ONE) == pytest.approx(bound, abs=1e-5)
    assert waited(policy, attempt, error, jitter) == pytest.approx(jitter * bound, abs=1e-5)


@given(endless, numbers)
def test_the_bound_never_shrinks_with_more_attempts(policy: Retry, attempt: int) -> None:
    assert policy.longest_wait(attempt) <= policy.longest_wait(attempt + 1)


@given(policies, numbers, failures | waits.map(RetryAfter))
def test_a_transient_failure_is_given_up_exactly_when_the_attempts_are_used_up(
    policy: Retry, attempt: int, error: BaseException
) -> None:
    used_up = policy.attempts is not None and attempt >= policy.attempts
    assert (next_run(policy, attempt, error, NOW) is None) == used_up


@given(policies, numbers, waits)
def test_a_postponed_attempt_is_followed_by_another_even_if_none_is_left(
    policy: Retry, attempt: int, seconds: float
) -> None:
    assert waited(policy, attempt, Postponed(seconds), 0) == pytest.approx(seconds, abs=1e-5)


@given(policies, numbers)
def test_a_permanent_failure_is_given_up_whatever_is_left(policy: Retry, attempt: int) -> None:
    assert next_run(policy, attempt, PermanentError("no"), NOW) is None


@given(endless, numbers, waits, jitters)
def test_a_handler_that_names_a_time_overrides_the_backoff_and_its_cap(
    policy: Retry, attempt: int, seconds: float, jitter: float
) -> None:
    assert waited(policy, attempt, RetryAfter(seconds), jitter) == pytest.approx(seconds, abs=1e-5)


@given(endless, numbers, jitters)
def test_an_attempt_that_ended_with_its_worker_is_followed_at_once(policy: Retry, attempt: int, jitter: float) -> None:
    assert waited(policy, attempt, WorkerLost("here:1"), jitter) == 0


@pytest.mark.parametrize("seconds", [-1, -1e300, float("-inf")])
def test_a_time_in_the_past_means_now(seconds: float) -> None:
    assert next_run(exponential(None), 1, RetryAfter(seconds), NOW) == NOW


@pytest.mark.parametrize("seconds", [1e10, 1e11, 1e15, 1e300, float("inf"), float("nan")])
def test_an_absurd_time_is_still_a_time(seconds: float) -> None:
    """Such numbers come from other people's Retry-After headers; an OverflowError here would kill the worker."""
    when = next_run(exponential(None), 1, RetryAfter(seconds), NOW)
    assert when is not None
    assert when >= NOW


@pytest.mark.parametrize("attempt", [1, 64, 65, 1_000, 2**31, 2**63, 10**30])
@pytest.mark.parametrize("factor", [1, 2, 2.0, 10, 1000.0, 1e6])
def test_no_number_of_attempts_overflows(attempt: int, factor: float) -> None:
    policy = exponential(None, factor=factor, cap=60)
    assert 0 <= policy.longest_wait(attempt) <= 60


def test_the_default_policy_waits_five_ten_twenty_seconds_at_most() -> None:
    assert [exponential().longest_wait(attempt) for attempt in (1, 2, 3)] == [5, 10, 20]


def test_waits_differ_from_draw_to_draw() -> None:
    assert len({next_run(exponential(None), 5, TransientError(), NOW) for _ in range(20)}) > 10


def waited(policy: Retry, attempt: int, error: BaseException, jitter: float) -> float:
    when = next_run(policy, attempt, error, NOW, lambda: jitter)
    assert when is not None
    return (when - NOW) / timedelta(seconds=1)


def test_exponential_makes_a_retry_policy_with_the_usual_defaults() -> None:
    assert exponential(7, base=1, factor=3, cap=9) == Retry(7, 1, 3, 9)
    assert exponential() == Retry()
