"""The kind http.request as a client of the API uses it: what it calls, what it refuses, and when it tries again."""

import json
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from jobs.http_request.kind import HttpRequestParams
from jobs.models import Job
from jobs.submit import submit
from rest.requests.strict import validated
from tests.support.inline_worker import run_due
from tests.support.servers.web import make_server
from tests.support.stack import Stack

INSIDE = [
    "http://127.0.0.1/",
    "http://127.0.0.1:8000/api/v1/jobs/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://localhost/",
    "http://inside.example/",
]


@pytest.fixture
def other_side(settings: Any) -> Iterator[Any]:
    with make_server() as server:
        settings.HTTP_REQUEST_ALLOWED_HOSTS = [server.host]
        yield server


@pytest.fixture
def inside_example(monkeypatch: pytest.MonkeyPatch) -> None:
    """inside.example resolves to this machine, as a public name may; no name server is asked."""
    resolve = socket.getaddrinfo

    def resolve_here(host: str, *args: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if host in {"inside.example", "localhost"} else host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)


def request(url: str, **params: Any) -> Job:
    """The job after its first attempt."""
    job = submit("http.request", {"url": url, **params})
    run_due()
    job.refresh_from_db()
    return job


def assert_refused(job: Job) -> None:
    assert (job.status, job.attempt) == ("failed", 1)
    assert job.error
    assert job.error["type"] == "PermanentError"
    assert "http.request may not call" in job.error["message"]


@pytest.mark.parametrize(
    "params",
    [
        {"url": "ftp://a.example/"},
        {"url": "file:///etc/passwd"},
        {"url": "a.example"},
        {"url": "http://a.example/\r\nX: 1"},
        {"url": "http://user:secret@a.example/"},
        {"url": "http://a.example:0/"},
        {"url": "http://a.example/", "headers": {"Host": "b.example"}},
        {"url": "http://a.example/", "headers": {"X A": "1"}},
        {"url": "http://a.example/", "headers": {"X-A": "1\r\nX-B: 2"}},
    ],
)
def test_a_request_that_can_never_be_sent_is_refused_before_it_is_stored(params: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refusal:
        validated(HttpRequestParams, params)
    assert list(refusal.value.detail) == ["headers" if "headers" in params else "url"]


def test_a_refused_scheme_names_what_is_allowed() -> None:
    with pytest.raises(ValidationError, match=r"The URL must begin with http:// or https://\."):
        validated(HttpRequestParams, {"url": "ftp://a.example/"})


@pytest.mark.parametrize("url", [*INSIDE[:5], "https://a.example:22/", "https://[2001:db8::1]/"])
def test_a_private_address_or_closed_port_is_refused_before_it_is_stored(url: str) -> None:
    with pytest.raises(ValidationError, match=r"http\.request may not call"):
        validated(HttpRequestParams, {"url": url})


@pytest.mark.django_db
@pytest.mark.usefixtures("inside_example")
@pytest.mark.parametrize("url", INSIDE[5:])
def test_a_call_of_a_name_that_leads_to_the_inside_is_refused_at_once(url: str) -> None:
    assert_refused(request(url))


@pytest.mark.django_db
@pytest.mark.usefixtures("inside_example")
@pytest.mark.parametrize("url", INSIDE[1:])
def test_a_redirect_to_the_inside_is_refused_at_once(other_side: Any, url: str) -> None:
    other_side.reply = lambda asked: (302, {"Location": url}, b"")
    assert_refused(request(other_side.url))
    assert len(other_side.asked) == 1


@pytest.mark.django_db
def test_an_allowed_host_is_called_and_its_answer_is_the_result(other_side: Any) -> None:
    other_side.reply = lambda asked: (200, {"X-Answer": "42"}, "grün".encode())
    job = request(other_side.url + "path?a=b")
    assert job.status == "succeeded"
    assert job.result["status"] == 200
    assert job.result["body"] == "grün"
    assert job.result["headers"]["x-answer"] == "42"
    assert set(job.result) == {"status", "headers", "body"}
    assert (other_side.asked[0].command, other_side.asked[0].path) == ("GET", "/path?a=b")


@pytest.mark.django_db
def test_method_headers_and_json_arrive(other_side: Any) -> None:
    job = request(other_side.url, method="PUT", headers={"X-Till": "17", "Authorization": "Bearer b"}, json={"a": [1]})
    assert job.status == "succeeded"
    [asked] = other_side.asked
    assert asked.command == "PUT"
    assert (asked.headers["X-Till"], asked.headers["Authorization"]) == ("17", "Bearer b")
    assert asked.headers["Content-Type"] == "application/json"
    assert json.loads(asked.body) == {"a": [1]}


@pytest.mark.django_db
def test_json_null_is_sent_as_a_body_and_without_json_there_is_none(other_side: Any) -> None:
    request(other_side.url, method="POST", json=None)
    request(other_side.url, method="POST")
    assert [asked.body for asked in other_side.asked] == [b"null", b""]


@pytest.mark.django_db
@pytest.mark.parametrize(("status", "outcome"), [(200, "failed"), (201, "succeeded"), (404, "succeeded")])
def test_expect_says_which_answers_are_a_success(other_side: Any, status: int, outcome: str) -> None:
    other_side.reply = lambda asked: (status, {}, b"")
    assert request(other_side.url, expect=[201, 404]).status == outcome


@pytest.mark.django_db
@pytest.mark.parametrize("status", [400, 401, 404, 410])
def test_an_answer_that_will_not_change_fails_the_job_for_good(other_side: Any, status: int) -> None:
    other_side.reply = lambda asked: (status, {}, b"secret page")
    job = request(other_side.url)
    assert (job.status, job.attempt) == ("failed", 1)
    assert job.error
    assert (job.error["type"], job.error["message"]) == ("PermanentError", f"the response's status was {status}")


@pytest.mark.django_db
def test_the_retry_after_of_an_answer_is_obeyed(other_side: Any) -> None:
    other_side.reply = lambda asked: (503, {"Retry-After": "70"}, b"")
    before = timezone.now()
    job = request(other_side.url)
    assert job.status == "retrying"
    assert before + timedelta(seconds=70) <= job.run_at <= timezone.now() + timedelta(seconds=70)


@pytest.mark.django_db
def test_a_transient_failure_is_retried_until_it_has_passed(other_side: Any) -> None:
    other_side.reply = lambda asked: (503, {"Retry-After": "0"}, b"") if len(other_side.asked) < 3 else (200, {}, b"")
    job = submit("http.request", {"url": other_side.url})
    for _ in range(3):
        # Due at once by Retry-After: 0, but now() of PostgreSQL stands still in this test's transaction.
        Job.objects.filter(status="retrying").update(run_at=job.created_at - timedelta(minutes=1))
        run_due()
    job.refresh_from_db()
    assert (job.status, job.attempt, len(job.errors)) == ("succeeded", 3, 2)


@pytest.mark.django_db
def test_calls_beyond_the_limit_of_a_host_are_made_later(other_side: Any, settings: Any) -> None:
    settings.MAX_CALLS_PER_HOST = 2
    calls = [request(other_side.url) for _ in range(3)]
    assert [job.status for job in calls] == ["succeeded", "succeeded", "retrying"]
    assert calls[2].errors[0]["message"] == "this host was called as often as allowed; the call is made later"
    assert timedelta(seconds=1) < calls[2].run_at - timezone.now() <= timedelta(seconds=121)
    assert len(other_side.asked) == 2
    settings.HTTP_REQUEST_ALLOWED_HOSTS = ["localhost", other_side.host]
    assert request(other_side.url.replace("127.0.0.1", "localhost")).status == "succeeded", "another host"


@pytest.mark.django_db
def test_a_job_with_a_single_attempt_waits_for_its_call_as_often_as_it_must(other_side: Any, settings: Any) -> None:
    settings.MAX_CALLS_PER_HOST = 0
    job = submit("http.request", {"url": other_side.url}, max_attempts=1)
    for round_ in (1, 2):
        Job.objects.update(run_at=timezone.now())
        run_due()
        job.refresh_from_db()
        assert (job.status, job.attempt, job.max_attempts) == ("retrying", round_, round_ + 1)
    assert other_side.asked == []
    settings.MAX_CALLS_PER_HOST = 10
    Job.objects.update(run_at=timezone.now())
    run_due()
    job.refresh_from_db()
    assert job.status == "succeeded"


@pytest.mark.django_db
def test_calls_that_were_refused_do_not_come_back_all_at_once(other_side: Any, settings: Any) -> None:
    settings.MAX_CALLS_PER_HOST = 0
    due = [request(other_side.url).run_at for _ in range(10)]
    assert max(due) - min(due) > timedelta(seconds=5)


@pytest.mark.django_db
def test_a_server_that_is_not_there_is_tried_again(settings: Any) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        settings.HTTP_REQUEST_ALLOWED_HOSTS = ["127.0.0.1"]
        job = request(f"http://127.0.0.1:{deaf.getsockname()[1]}/")
    assert job.status == "retrying"
    assert job.errors[0]["type"] == "TransientError"


def test_the_stack_refuses_to_call_itself(stack: Stack) -> None:
    body = {"kind": "http.request", "params": {"url": f"{stack.url}/healthz"}}
    [error] = stack.client().post("jobs/", body, expect=400).json()["errors"]
    assert error["field"] == "params.url"
    assert error["detail"] == "http.request may not call 127.0.0.1: its address is loopback."
