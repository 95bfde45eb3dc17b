"""Whatever is sent, the answer is a refusal that says why, and never a 500."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.support.api_clients import SESSION, TOKENS, assert_problem, browser_with_csrf, csrf

NOTHING = "/api/v1/nothing/"


def client(**more: Any) -> APIClient:
    return APIClient(raise_request_exception=False, **more)


# --- bad requests --------------------------------------------------------------------------------------------------

JSON = "application/json"
DEEP = b"[" * 10_000 + b"]" * 10_000
BAD_BODIES: list[tuple[str, bytes, int]] = [
    (JSON, b"{", 400),
    (JSON, b" ", 400),
    (JSON, b"nonsense", 400),
    (JSON, b'{"username": "\xff"}', 400),
    (JSON, b"\xff\xfe{\0}\0", 400),
    (JSON, b"\xef\xbb\xbf{}", 400),
    (JSON, b'{"username": NaN}', 400),
    (JSON, b'{"username": Infinity}', 400),
    (JSON, b'{"username": 1e999}', 400),
    (JSON, b'{"username": "\\ud800", "password": "x"}', 400),
    (JSON, b'{"username": "a\\u0000", "password": "x"}', 400),
    (JSON, b'{"us\\u0000er": "a"}', 400),
    (JSON, b'{"username": "a\0b"}', 400),
    (JSON, DEEP, 400),
    (JSON, b'{"username":' + DEEP + b"}", 400),
    (JSON, b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
    (JSON, b'{"username": ' + b"9" * 5000 + b"}", 400),
    (JSON, b'{"username": {}, "password": []}', 400),
    (JSON, b"[]", 400),
    (JSON, b"", 400),
    ("application/json; charset=latin-1", b'{"username": "\xe9"}', 400),
    ("application/x-www-form-urlencoded", b"username=a&password=b", 415),
    ("multipart/form-data; boundary=x", b"--x--", 415),
    ("multipart/form-data", b"no boundary", 415),
    ("text/plain", b"{}", 415),
    ("nonsense", b"{}", 415),
    ("", b"{}", 415),
]


@pytest.mark.django_db
@pytest.mark.parametrize("url", [TOKENS, SESSION, NOTHING])
@pytest.mark.parametrize(("content_type", "body", "status"), BAD_BODIES)
def test_a_bad_body_is_refused_as_what_it_is(url: str, content_type: str, body: bytes, status: int) -> None:
    browser = browser_with_csrf(raise_request_exception=False)
    answer = browser.generic("POST", url, body, content_type=content_type, headers=csrf(browser))
    assert_problem(answer, 404 if "nothing" in url else status)


@pytest.mark.django_db
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("url", [TOKENS, SESSION, NOTHING, "/admin/login/"])
@pytest.mark.parametrize(
    "odd",
    [
        {"QUERY_STRING": "a=%00"},
        {"QUERY_STRING": "%00=a"},
        {"HTTP_COOKIE": 'sessionid="\\000"'},
        {"HTTP_COOKIE": "sessionid=\0"},
        {"HTTP_COOKIE": 'csrftoken="\\000"'},
    ],
)
def test_nul_in_a_query_or_a_cookie_is_400(method: str, url: str, odd: dict[str, str]) -> None:
    assert_problem(client().generic(method, url, **odd), 400)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "odd",
    [
        {"QUERY_STRING": "page_size=%ff&cursor=%ff"},
        {"QUERY_STRING": "a" * 5000},
        {"QUERY_STRING": "&".join(f"a{n}=1" for n in range(2000))},
        {"HTTP_COOKIE": "sessionid=" + "x" * 5000},
        {"HTTP_COOKIE": "sessionid=\xff\xfe; csrftoken=\xff"},
        {"HTTP_X_REQUEST_ID": "\xff"},
        {"HTTP_X_FORWARDED_FOR": "\0, nonsense"},
        {"CONTENT_LENGTH": "nonsense"},
        {"CONTENT_LENGTH": "-1"},
    ],
)
def test_an_odd_request_is_no_fault_of_the_server(odd: dict[str, str]) -> None:
    for url in (TOKENS, SESSION, NOTHING):
        for method in ("GET", "POST"):
            assert client().generic(method, url, **odd).status_code < 500


def test_nul_in_the_path_is_404() -> None:
    assert_problem(client().get("/api/v1/jobs/%00/"), 404)
    assert_problem(client().get("/%00"), 404)


def test_a_declared_length_over_the_limit_is_413_for_any_server(settings: Any) -> None:
    settings.BODY_LIMIT = 10
    assert_problem(client().generic("POST", TOKENS, b"x" * 11, content_type=JSON), 413)


@pytest.mark.parametrize(
    "path", ["/unsubscribe/x/", "/webhooks/mailgun/tracking/", "/webhooks/anymail/postmark/tracking/"]
)
def test_pages_and_webhooks_are_limited_by_network(settings: Any, path: str) -> None:
    settings.PAGE_RATES = {"/unsubscribe/": 2, "/webhooks/": 2}

    def ask(address: str) -> int:
        return client().post(path, REMOTE_ADDR=address).status_code

    first, second, third = (ask(f"2001:db8::{number}") for number in range(3))
    assert first == second != 429
    assert third == 429
    assert ask("2001:db8:0:1::1") == first
