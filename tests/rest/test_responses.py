"""When a client is told to poll again, and whether it has what it asks for."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from rest.responses import matches, poll_headers, retry_after

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LONG = 100_000.0


@pytest.mark.parametrize(
    ("age", "due_in", "seconds"),
    [
        *[(0, None, 1), (19.9, None, 1), (20, None, 2), (299, None, 29), (300, None, 30), (LONG, None, 30)],
        *[(LONG, -LONG, 1), (LONG, 0, 1), (0, 1.9, 1), (0, 2, 2), (0, 59.9, 59), (0, 60, 60), (0, LONG, 60)],
    ],
)
def test_a_tenth_of_the_age_is_waited_or_until_something_can_change(
    age: float, due_in: float | None, seconds: int
) -> None:
    due_at = None if due_in is None else NOW + timedelta(seconds=due_in)
    assert retry_after(NOW - timedelta(seconds=age), due_at, NOW) == seconds


def test_what_has_finished_is_not_polled() -> None:
    assert poll_headers(NOW, None, finished=True) == {}
    assert poll_headers(timezone.now() - timedelta(seconds=105), None, finished=False) == {"Retry-After": "10"}


@pytest.mark.parametrize(
    ("if_none_match", "same"),
    [('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False), ("", False), ('"b", *', False)],
)
def test_a_tag_is_compared_weakly(if_none_match: str, same: bool) -> None:
    assert matches('"a"', if_none_match) is same
