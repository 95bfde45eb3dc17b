"""When a client is told to poll again, and whether it has what it asks for."""

import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from django.http import HttpResponseBase
from django.utils import timezone
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from rest.responses import Conflict, conditional, etag, first_or_404, matches, poll_headers, retry_after

NOW = datetime(2026, 3, 1, tzinfo=UTC)
LONG = 100_000.0


@pytest.mark.parametrize(
    ("age", "due_in", "seconds"),
    [
        *[(0, None, 1), (19.9, None, 1), (20, None, 2), (299, None, 29), (300, None, 30), (LONG, None, 30)],
        *[(LONG, -LONG, 1), (LONG, 0, 1), (0, 1.9, 1), (0, 2, 2), (0, 59.9, 59), (0, 60, 60), (0, LONG, 60)],
    ],
)
def test_retry_after_is_a_tenth_of_the_age_or_the_time_until_a_change_is_possible(
    age: float, due_in: float | None, seconds: int
) -> None:
    due_at = None if due_in is None else NOW + timedelta(seconds=due_in)
    assert retry_after(NOW - timedelta(seconds=age), due_at, NOW) == seconds


def test_what_has_finished_is_not_polled() -> None:
    assert poll_headers(NOW, None, finished=True) == {}
    assert poll_headers(timezone.now() - timedelta(seconds=105), None, finished=False) == {"Retry-After": "10"}
    assert poll_headers(NOW, timezone.now() + timedelta(hours=1), finished=False) == {"Retry-After": "60"}


@pytest.mark.parametrize(
    ("if_none_match", "same"),
    [('"a"', True), ('W/"a"', True), ('"b", "a"', True), ("*", True), ('"b"', False), ("", False), ('"b", *', False)],
)
def test_a_tag_is_compared_weakly(if_none_match: str, same: bool) -> None:
    assert matches('"a"', if_none_match) is same


def test_a_conflict_says_why_and_has_its_header_fields() -> None:
    assert Conflict("No.").headers == {}
    assert Conflict("No.").detail.code == "conflict"
    conflict = Conflict("It runs already.", "exists", Location="/jobs/1/")
    assert (str(conflict.detail), conflict.detail.code) == ("It runs already.", "exists")
    assert conflict.headers == {"Location": "/jobs/1/"}


def test_the_first_row_is_returned_or_404_is_raised() -> None:
    assert first_or_404(SimpleNamespace(first=lambda: 0)) == 0
    with pytest.raises(NotFound):
        first_or_404(SimpleNamespace(first=lambda: None))


def test_a_tag_changes_with_what_is_shown() -> None:
    assert etag({"a": 1}) == etag({"a": 1}) != etag({"a": 2})
    assert re.fullmatch('"[0-9a-f]{24}"', etag({"a": 1}))


def shown(if_none_match: str) -> HttpResponseBase:
    request = Request(APIRequestFactory().get("/", headers={"If-None-Match": if_none_match}))
    return conditional(
        request, Response({"a": 1}, headers={"ETag": '"a"', "Retry-After": "7", "Content-Type": "application/json"})
    )


def test_a_client_that_has_the_representation_gets_only_its_header_fields() -> None:
    answer = shown('"a"')
    assert (answer.status_code, answer["ETag"], answer["Retry-After"]) == (304, '"a"', "7")
    assert "Content-Type" not in answer
    assert answer.content == b""


def test_a_client_that_has_another_representation_gets_the_whole_one() -> None:
    answer = shown('"b"')
    assert (answer.status_code, answer.data, answer["Retry-After"]) == (200, {"a": 1}, "7")
