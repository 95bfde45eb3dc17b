"""`Prefer: wait=…`, as RFC 7240 writes preferences."""

import pytest
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from rest.requests.prefer import wait_seconds


@pytest.mark.parametrize(
    ("field", "seconds"),
    [
        ("wait=20", 20),
        ("respond-async, wait=20", 20),
        ("Wait = 7 ; foo=bar", 7),
        ('wait="5"', 5),
        ("wait=300", 30),
        ("wait=0", 0),
        ("wait=3, wait=9", 3),
        ('note="a, wait=9", wait=4', 4),
        ('note="a \\", wait=9"', 0),
        ("", 0),
        ("wait", 0),
        ("wait=", 0),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("wait=soon", 0),
        ("wait=٣", 0),
        ("wait=1000000000000000000000000", 0),
        ("waiting=5", 0),
        ("wait=1=2, wait=9", 0),
    ],
)
def test_the_seconds_that_a_client_prefers_to_wait(field: str, seconds: int) -> None:
    request = Request(APIRequestFactory().get("/", HTTP_PREFER=field))
    assert wait_seconds(request) == seconds


def test_a_client_without_a_preference_does_not_wait() -> None:
    assert wait_seconds(Request(APIRequestFactory().get("/"))) == 0
