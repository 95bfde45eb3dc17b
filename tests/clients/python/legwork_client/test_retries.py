"""When a request is sent again, and how late."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from legwork_client.retries import Retries, retry_after

NOW = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        ("soon", None),
        ("-1", None),
        (format_datetime(NOW + timedelta(seconds=30), usegmt=True), 30.0),
        (format_datetime(NOW - timedelta(seconds=30), usegmt=True), 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(value: str | None, seconds: float | None) -> None:
    assert retry_after(value, NOW.timestamp) == seconds


@given(st.integers(1, 1000), st.floats(0, 1, exclude_max=True), st.none() | st.floats(0, 120))
def test_a_wait_is_never_shorter_than_asked_for_nor_longer_than_the_cap_beyond_it(
    attempt: int, random: float, asked: float | None
) -> None:
    wait = Retries(attempts=1001).wait_after(attempt, asked, lambda: random)
    assert wait is not None
    assert (asked or 0) <= wait <= (asked or 0) + Retries().cap


def test_retries_end_after_the_last_attempt_and_when_asked_to_wait_too_long() -> None:
    assert Retries(attempts=3).wait_after(2) is not None
    assert Retries(attempts=3).wait_after(3) is None
    assert Retries(longest=10).wait_after(1, 11) is None
