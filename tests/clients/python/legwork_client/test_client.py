"""What the client sends, and what it makes of the answers: against a scripted server."""

import json
from collections.abc import Callable

import httpx
import pytest

from legwork_client import (
    ApiError,
    BadRequest,
    Client,
    Conflict,
    JobNotSucceeded,
    Retries,
    ServerError,
    Unreachable,
    WaitTimeout,
)
from legwork_client.types import Job

AT_ONCE = Retries(base=0)
QUEUED = {"id": "1", "url": "http://site/api/v1/jobs/1/", "status": "queued", "finished_at": None, "error": None}
DONE = QUEUED | {"status": "succeeded", "finished_at": "2026-03-01T12:00:00Z", "result": 42}

Answer = httpx.Response | Exception
Step = Answer | Callable[[httpx.Request], Answer]


class Server:
    """Gives one of these answers to each request, in turn. requests: what was sent to it."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, retries: Retries = AT_ONCE) -> Client:
        return Client("http://site", "key", retries=retries, transport=httpx.MockTransport(self))


def stream(*states: dict[str, object]) -> httpx.Response:
    text = "".join(f"event: job\nid: {n}\ndata: {json.dumps(state)}\n\n" for n, state in enumerate(states, 1))
    return httpx.Response(200, text=text, headers={"Content-Type": "text/event-stream"})


def problem(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, json={"title": "no", "detail": "not now", "code": "a_code"}, headers=headers)


def test_a_submitted_job_has_a_key_and_keeps_it_when_it_is_sent_again() -> None:
    server = Server(httpx.ReadError("cut"), problem(503, **{"Retry-After": "0"}), httpx.Response(202, json=QUEUED))
    job: Job = server.client().jobs.submit("demo.countdown", {"seconds": 1})
    assert job == QUEUED
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 1
    assert [request.headers["Authorization"] for request in server.requests] == ["Token key"] * 3
    assert json.loads(server.requests[0].content) == {"kind": "demo.countdown", "params": {"seconds": 1}}


def test_a_post_without_a_key_is_not_repeated_if_it_may_have_arrived() -> None:
    server = Server(httpx.ReadError("cut"))
    with pytest.raises(Unreachable):
        server.client().tokens.create("ada", "secret")
    assert len(server.requests) == 1


def test_a_post_without_a_key_is_repeated_if_it_was_never_sent() -> None:
    server = Server(httpx.ConnectError("refused"), httpx.Response(201, json={"token": "new"}))
    assert server.client().tokens.create("ada", "secret")["token"] == "new"


def test_a_client_gives_up_after_its_attempts() -> None:
    server = Server(*[problem(500)] * 3)
    with pytest.raises(ServerError):
        server.client(Retries(attempts=3, base=0)).jobs.get("1")
    assert len(server.requests) == 3


@pytest.mark.parametrize(("status", "error"), [(400, BadRequest), (409, Conflict), (418, ApiError)])
def test_each_refusal_raises_its_own_error_and_is_not_repeated(status: int, error: type[ApiError]) -> None:
    server = Server(problem(status, Location="http://site/api/v1/jobs/2/"))
    with pytest.raises(error) as raised:
        server.client().jobs.get("1")
    assert (raised.value.status, raised.value.code) == (status, "a_code")
    assert "not now" in str(raised.value)


def test_an_error_response_without_a_problem_document_raises_too() -> None:
    with pytest.raises(ServerError, match="502"):
        Server(httpx.Response(502, text="<html>")).client(Retries(attempts=1)).jobs.get("1")


def test_changes_are_read_from_a_stream() -> None:
    server = Server(stream(QUEUED, DONE))
    assert list(server.client().jobs.changes("1")) == [QUEUED, DONE]
    assert server.requests[0].url.path == "/api/v1/jobs/1/events/"


def test_a_cut_stream_is_resumed_after_its_last_event() -> None:
    server = Server(stream(QUEUED), stream(DONE))
    assert server.client().jobs.result("1") == 42
    assert server.requests[1].headers["Last-Event-ID"] == "1"


def test_without_streams_it_polls_and_shows_no_state_twice() -> None:
    tagged = {"ETag": '"a"', "Preference-Applied": "wait=20"}
    server = Server(
        problem(404),
        httpx.Response(200, json=QUEUED, headers=tagged),
        httpx.Response(304, headers=tagged),
        httpx.Response(200, json=DONE),
    )
    assert list(server.client().jobs.changes("1")) == [QUEUED, DONE]
    assert [request.headers.get("If-None-Match") for request in server.requests[1:]] == ["", '"a"', '"a"']
    assert server.requests[1].headers["Prefer"] == "wait=20"


def test_streams_that_always_fail_are_given_up() -> None:
    server = Server(*[httpx.ReadError("cut")] * 3, httpx.Response(200, json=DONE))
    assert server.client().jobs.wait("1") == DONE


def test_a_job_that_fails_has_no_result() -> None:
    failed = DONE | {"status": "failed", "error": {"message": "no water"}}
    with pytest.raises(JobNotSucceeded, match="no water"):
        Server(stream(failed)).client().jobs.result("1")


def test_a_wait_ends_in_time() -> None:
    server = Server(stream(QUEUED), *[httpx.ReadError("cut")] * 3, *[httpx.Response(200, json=QUEUED)] * 9)
    with pytest.raises(WaitTimeout):
        server.client().jobs.wait("1", within=0.2)


def test_a_list_goes_over_its_pages() -> None:
    first = {"results": [1, 2], "next": "http://site/api/v1/jobs/?cursor=x"}
    server = Server(httpx.Response(200, json=first), httpx.Response(200, json={"results": [3], "next": None}))
    assert list(server.client().jobs.find(status="failed", kind=None)) == [1, 2, 3]
    assert server.requests[0].url.query == b"status=failed"


def test_many_jobs_go_in_batches_with_keys_of_their_own() -> None:
    results = [{"results": [{"id": str(n)} for n in range(count)]} for count in (500, 1)]
    server = Server(*[httpx.Response(202, json=result) for result in results])
    assert len(server.client().jobs.submit_many([{"kind": "a"}] * 501, idempotency_key="k")) == 501
    assert [request.headers["Idempotency-Key"] for request in server.requests] == ["k-0", "k-1"]
