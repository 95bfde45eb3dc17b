"""Whatever is wrong with a request, the answer is the right status as problem+json, and nothing is stored."""

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from rest_framework.test import APIClient

from jobs.models import Job
from jobs.models.states import Status
from project.asgi import application
from tests.support.api_clients import make_token
from tests.support.factories import make_user

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

JOBS, KINDS = "/api/v1/jobs/", "/api/v1/job-kinds/"
# A constant, because it is part of the names of tests, which have to be the same in all workers of xdist.
NOBODYS = f"{JOBS}01234567-89ab-7cde-8f01-23456789abcd/"
MEMBERS = {"type", "title", "status", "code", "detail", "instance"}
INTERNAL = (
    "Traceback",
    "django",
    "rest_framework",
    "psycopg",
    "sqlite",
    "jobs_job",
    "orjson",
    ".py",
    "object at",
)
JSON = "application/json"
COUNTDOWN = {"kind": "demo.countdown", "params": {"seconds": 3}}


@pytest.fixture
def api(ada: User) -> APIClient:
    return make_client(make_token(ada))


def make_client(key: str | None = None, scheme: str = "Token") -> APIClient:
    return APIClient(
        enforce_csrf_checks=True,
        raise_request_exception=False,
        headers={"Authorization": f"{scheme} {key}"} if key else None,
    )


def countdown(**fields: Any) -> bytes:
    """The body of a good POST, but for these fields."""
    return json.dumps(COUNTDOWN | fields).encode()


def send(client: APIClient, method: str, path: str, body: bytes = b"", kind: str = JSON, **more: Any) -> HttpResponse:
    return client.generic(method, path, body, content_type=kind, **more)


def assert_problem(answer: HttpResponse, status: int, path: str = JOBS) -> dict[str, Any]:
    text = answer.content.decode()
    assert answer.status_code == status, text
    assert answer["Content-Type"] == "application/problem+json"
    assert "X-Request-ID" in answer
    problem: dict[str, Any] = answer.json()
    assert MEMBERS <= set(problem) <= MEMBERS | {"errors"}
    assert (problem["status"], problem["instance"]) == (status, path)
    assert problem["title"]
    assert problem["detail"]
    assert all(set(error) == {"field", "code", "detail"} for error in problem.get("errors", []))
    assert not [word for word in INTERNAL if word in text]
    return problem


# --- what the body says --------------------------------------------------------------------------------------------

FIELDS = {
    "an unknown kind": ({"kind": "no.such.kind"}, "kind"),
    "an empty kind": ({"kind": ""}, "kind"),
    "no kind": ({"kind": None}, "kind"),
    "a kind that is a list": ({"kind": ["demo.countdown"]}, "kind"),
    "a kind of a megabyte": ({"kind": "k" * 1000}, "kind"),
    "an unknown field": ({"speed": 11}, "speed"),
    "a field that the server fills": ({"status": "succeeded"}, "status"),
    "an unknown param": ({"params": {"seconds": 3, "minutes": 4}}, "params.minutes"),
    "a param that is missing": ({"params": {}}, "params.seconds"),
    "a param of the wrong type": ({"params": {"seconds": "soon"}}, "params.seconds"),
    "a param out of range": ({"params": {"seconds": 3601}}, "params.seconds"),
    "a huge param": ({"params": {"seconds": 10**30}}, "params.seconds"),
    "params that are a list": ({"params": [3]}, "params"),
    "params that are a text": ({"params": '{"seconds": 3}'}, "params"),
    "params that are a number": ({"params": 3}, "params"),
    "params that are false": ({"params": False}, "params"),
    "a priority that is a word": ({"priority": "high"}, "priority"),
    "a priority out of range": ({"priority": 40_000}, "priority"),
    "a huge priority": ({"priority": 10**30}, "priority"),
    "half a priority": ({"priority": 0.5}, "priority"),
    "a priority that is true": ({"priority": True}, "priority"),
    "no time at all": ({"timeout": 0}, "timeout"),
    "a negative time": ({"timeout": -1}, "timeout"),
    "a huge timeout": ({"timeout": 2**63}, "timeout"),
    "no attempts": ({"max_attempts": 0}, "max_attempts"),
    "a huge number of attempts": ({"max_attempts": 2**31}, "max_attempts"),
    "a time that is a word": ({"run_at": "tomorrow"}, "run_at"),
    "a time that is a number": ({"run_at": 1_700_000_000}, "run_at"),
    "a day that there is not": ({"run_at": "2026-02-30T00:00:00Z"}, "run_at"),
    "a time before all times": ({"run_at": "0001-01-01T00:00:00+14:00"}, "run_at"),
    "a time after all times": ({"run_at": "9999-12-31T23:59:59-12:00"}, "run_at"),
    "an empty unique key": ({"unique_key": ""}, "unique_key"),
    "a long unique key": ({"unique_key": "k" * 256}, "unique_key"),
    "a unique key that is an object": ({"unique_key": {"a": 1}}, "unique_key"),
}


@pytest.mark.parametrize(("fields", "field"), FIELDS.values(), ids=FIELDS)
def test_a_body_with_one_bad_field_is_refused_and_the_field_named(
    api: APIClient, fields: dict[str, Any], field: str
) -> None:
    problem = assert_problem(send(api, "POST", JOBS, countdown(**fields)), 400)
    assert [error["field"] for error in problem["errors"]] == [field]
    assert Job.objects.count() == 0


def test_every_bad_field_is_named_at_once(api: APIClient) -> None:
    problem = assert_problem(send(api, "POST", JOBS, countdown(priority="high", timeout=0)), 400)
    assert {error["field"] for error in problem["errors"]} == {"priority", "timeout"}


BODIES = {
    "nothing": b"",
    "blanks": b"  \n",
    "half of it": countdown()[:-5],
    "more than it": countdown() + b"}",
    "a comma too many": b'{"kind": "demo.countdown",}',
    "Python": b"{'kind': 'demo.countdown'}",
    "not a number": b'{"kind": "demo.countdown", "params": {"seconds": NaN}}',
    "infinity": b'{"kind": "demo.countdown", "params": {"seconds": 1e999}}',
    "a list": b"[]",
    "a text": b'"demo.countdown"',
    "a number": b"5",
    "null": b"null",
    "true": b"true",
    "NUL in a value": b'{"kind": "demo.countdown\\u0000", "params": {"seconds": 3}}',
    "NUL in a key": b'{"kind": "demo.countdown", "params": {"seconds": 3, "\\u0000": 1}}',
    "NUL in the unique key": b'{"kind": "demo.countdown", "params": {"seconds": 3}, "unique_key": "a\\u0000b"}',
    "NUL inside the params": b'{"kind": "http.request", "params": {"url": "http://a.example", "json": ["\\u0000"]}}',
    "a bare NUL": b'{"kind": "\0"}',
    "lists ten thousand deep": b'{"kind": "demo.countdown", "params": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "objects ten thousand deep": b'{"kind": "demo.countdown", "params": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_001,
    "ten thousand brackets": b"[" * 10_000,
    "JSON a few hundred deep": b'{"kind": "http.request", "params": {"url": "http://a.example", "json": '
    + b"[" * 300
    + b"]" * 300
    + b"}}",
    "Latin-1": '{"kind": "café"}'.encode("latin-1"),
    "UTF-16": '{"kind": "demo.countdown", "params": {"seconds": 3}}'.encode("utf-16"),
    "half a surrogate pair": b'{"kind": "\\ud800"}',
    "too long a UTF-8": b'{"kind": "\xc0\x80"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_json_object_is_refused(api: APIClient, body: bytes) -> None:
    assert_problem(send(api, "POST", JOBS, body), 400)
    assert Job.objects.count() == 0


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""],
)
def test_a_body_that_says_it_is_not_json_is_415(api: APIClient, kind: str) -> None:
    assert_problem(send(api, "POST", JOBS, countdown(), kind), 415)
    assert Job.objects.count() == 0


# --- how large it is -----------------------------------------------------------------------------------------------


def test_two_mebibytes_are_413(api: APIClient) -> None:
    assert_problem(send(api, "POST", JOBS, countdown(unique_key="k" * 2 * 1024 * 1024)), 413)
    assert Job.objects.count() == 0


@pytest.mark.parametrize("declared", [True, False], ids=["with its length", "in chunks"])
def test_two_mebibytes_are_413_before_a_thread_is_spent_on_them(declared: bool) -> None:
    chunks = [b"k" * 64 * 1024] * 32
    length = [(b"content-length", str(2 * 1024 * 1024).encode())]
    start, body = asyncio.run(over_asgi(chunks, length if declared else [(b"transfer-encoding", b"chunked")]))
    assert start["status"] == 413
    assert dict(start["headers"])[b"content-type"] == b"application/problem+json"
    assert json.loads(body)["instance"] == JOBS
    assert len(chunks) >= (32 if declared else 15)


async def over_asgi(chunks: list[bytes], headers: list[tuple[bytes, bytes]]) -> tuple[dict[str, Any], bytes]:
    """The ASGI application's answer to a POST of these chunks; the chunks that it has read leave the list."""
    scope = {
        **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": ""},
        **{"method": "POST", "path": JOBS, "raw_path": JOBS.encode(), "query_string": b""},
        **{
            "headers": [(b"host", b"testserver"), (b"content-type", JSON.encode()), *headers],
            "client": ("127.0.0.1", 9),
            "server": ("a", 80),
        },
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": chunks.pop(), "more_body": bool(chunks)}

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)  # type: ignore[arg-type]
    return sent[0], b"".join(message["body"] for message in sent[1:])


# --- where it goes -------------------------------------------------------------------------------------------------

PLACES = {
    "the wrong method for the list": ("PUT", JOBS, 405),
    "another wrong method for the list": ("DELETE", JOBS, 405),
    "the wrong method for a job": ("PATCH", NOBODYS, 405),
    "the wrong method for a cancellation": ("GET", f"{NOBODYS}cancellation/", 405),
    "the wrong method for retries": ("DELETE", f"{NOBODYS}retries/", 405),
    "the wrong method for kinds": ("POST", KINDS, 405),
    "a method that nobody knows": ("BREW", JOBS, 405),
    "a job that there is not": ("GET", NOBODYS, 404),
    "the cancellation of a job that there is not": ("POST", f"{NOBODYS}cancellation/", 404),
    "the retries of a job that there is not": ("POST", f"{NOBODYS}retries/", 404),
    "the end of a job that there is not": ("DELETE", NOBODYS, 404),
    "a bad UUID": ("GET", f"{JOBS}not-a-uuid/", 404),
    "a number for a UUID": ("DELETE", f"{JOBS}1/", 404),
    "a UUID that is too long": ("GET", f"{NOBODYS[:-1]}0/", 404),
    "NUL in the path": ("GET", f"{JOBS}%00/", 404),
    "a path that is not UTF-8": ("GET", f"{JOBS}%ff/", 404),
    "a URL that there is not": ("GET", "/api/v1/nothing/", 404),
    "a URL without its slash": ("POST", JOBS[:-1], 404),
}


@pytest.mark.parametrize(("method", "path", "status"), PLACES.values(), ids=PLACES)
def test_a_request_to_the_wrong_place_is_refused(api: APIClient, method: str, path: str, status: int) -> None:
    answer = send(api, method, path, countdown() if method != "GET" else b"")
    problem = assert_problem(answer, status, answer.json()["instance"])
    assert problem["instance"].startswith("/api/v1/")
    assert status != 405 or answer["Allow"]
    assert Job.objects.count() == 0


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "cancellation/"), ("POST", "retries/")]
)
def test_another_users_job_is_404(api: APIClient, method: str, path: str) -> None:
    grace = make_client(make_token(make_user("grace")))
    theirs = send(grace, "POST", JOBS, countdown()).json()
    address = f"{JOBS}{theirs['id']}/{path}"
    assert_problem(send(api, method, address), 404, address)
    assert send(grace, "GET", theirs["url"]).json() == theirs


QUERIES = {
    "an unknown state": "status=done",
    "one unknown state among known ones": "status=failed&status=done",
    "an empty state": "status=",
    "a time that is a word": "created_after=yesterday",
    "an empty time": "created_after=",
    "an empty kind": "kind=",
    "a time without an offset": "created_after=2026-03-01T12:00:00",
    "a day without a time": "created_after=2026-03-01",
    "a day that there is not": "created_before=2026-02-30T00:00:00Z",
    "a time before all times": "created_after=0001-01-01T00:00:00%2B14:00",
    "a time after all times": "created_before=9999-12-31T23:59:59-12:00",
    "half a page size": "page_size=0.5",
    "a page of nothing": "page_size=0",
    "a negative page size": "page_size=-1",
    "a huge page size": "page_size=" + "9" * 5000,
    "Arabic digits": "page_size=%D9%A3",
    "an empty page size": "page_size=",
    "a cursor of garbage": "cursor=garbage",
    "an empty cursor": "cursor=",
    "a cursor of another list": "cursor=cD0yMDI2LTAxLTAx",
    "a cursor with a huge offset": "cursor=bz05OTk5OTk5OTk5OTk5OTk5OTk5OTk5",
    "a cursor that is not UTF-8": "cursor=%ff%fe",
    "NUL in a kind": "kind=%00",
    "NUL in a state": "status=%00",
    "NUL in a cursor": "cursor=%00",
    "NUL in a name": "%00=1",
}


@pytest.mark.parametrize("query", QUERIES.values(), ids=QUERIES)
def test_a_query_that_makes_no_sense_is_400(api: APIClient, query: str) -> None:
    assert_problem(send(api, "GET", f"{JOBS}?{query}"), 400)


def test_an_unknown_state_is_answered_with_those_that_there_are(api: APIClient) -> None:
    [error] = assert_problem(send(api, "GET", f"{JOBS}?status=done"), 400)["errors"]
    assert error["detail"] == f"Choose one of {', '.join(Status.values)}."


# --- who sends it --------------------------------------------------------------------------------------------------

STRANGERS: dict[str, Callable[[User], APIClient]] = {
    "nobody": lambda ada: make_client(),
    "a bad token": lambda ada: make_client("0" * 64),
    "half a token": lambda ada: make_client(make_token(ada)[:20]),
    "an expired token": lambda ada: make_client(make_token(ada, expiry=timedelta(seconds=-1))),
    "an inactive user": lambda ada: make_client(make_token(User.objects.create_user("idle", is_active=False))),
    "an empty token": lambda ada: make_client(" "),
    "two tokens": lambda ada: make_client(f"{make_token(ada)} {make_token(ada)}"),
    "another scheme": lambda ada: make_client(make_token(ada), "Bearer"),
    "a password": lambda ada: make_client("YWRhOmEtZ29vZC1wYXNzd29yZA==", "Basic"),
    "a token in Latin-1": lambda ada: make_client("café"),
}


@pytest.mark.parametrize("path", [JOBS, NOBODYS, KINDS])
@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_an_unauthenticated_request_is_401_and_names_the_scheme(
    ada: User, stranger: Callable[[User], APIClient], path: str
) -> None:
    answer = send(stranger(ada), "GET", path)
    assert_problem(answer, 401, path)
    assert answer["WWW-Authenticate"] == "Token"


@pytest.mark.parametrize("stranger", STRANGERS.values(), ids=STRANGERS)
def test_an_unauthenticated_request_stores_nothing(ada: User, stranger: Callable[[User], APIClient]) -> None:
    assert_problem(send(stranger(ada), "POST", JOBS, countdown()), 401)
    assert Job.objects.count() == 0


def test_a_session_without_the_csrf_header_reads_but_stores_nothing(ada: User) -> None:
    browser = make_client()
    browser.force_login(ada)
    assert browser.get(JOBS).status_code == 200
    assert_problem(send(browser, "POST", JOBS, countdown()), 403)
    wrong = send(browser, "POST", JOBS, countdown(), headers={"X-CSRFToken": "x" * 64})
    assert_problem(wrong, 403)
    assert Job.objects.count() == 0


def test_a_session_with_the_csrf_header_posts_a_job(ada: User) -> None:
    browser = make_client()
    browser.force_login(ada)
    token = browser.get("/api/v1/session/").cookies["csrftoken"].value
    answer = send(browser, "POST", JOBS, countdown(), headers={"X-CSRFToken": token})
    assert answer.status_code == 202
    assert Job.objects.get().user == ada
