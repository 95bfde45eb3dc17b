"""Which requests are simple enough to be gathered: those without any header field that changes the plain answer."""

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.http.request import HttpHeaders

from project.gathering.requests import GET_FIELDS, POST_FIELDS
from tests.support.asgi_requests import Answer, Field, ask
from tests.support.gathering import Paths, World

pytest_plugins = ["tests.support.gathering_fixtures"]
pytestmark = pytest.mark.django_db

JOBS, MESSAGES = "/api/v1/jobs/", "/api/v1/mail/messages/"
POSTED = {
    JOBS: {"kind": "demo.countdown", "params": {"seconds": 0}},
    MESSAGES: {"to": "ada@example.org", "subject": "Hi", "text": "There"},
}
ELSEWHERE = {
    "content-length": "the server or project/asgi.py has made it agree with the body",
    "x-forwarded-for": "decides the address that is logged; dispatch.py reads it from the scope",
    "user-agent": "compared with DISALLOWED_USER_AGENTS, of which there are none",
}
"""Header fields that plain views read, and how it is seen that they change no gathered answer."""

BROWSER = {
    "accept": "*/*",
    "accept-encoding": "gzip, deflate, br, zstd",
    "accept-language": "de-DE,de;q=0.9,en;q=0.8",
    "dnt": "1",
    "origin": "http://testserver",
    "referer": "http://testserver/",
    "sec-ch-ua": '"Chromium";v="143", "Not A(Brand";v="24"',
    "sec-ch-ua-mobile": "?0",
    "sec-ch-ua-platform": '"Linux"',
    "sec-fetch-dest": "empty",
    "sec-fetch-mode": "cors",
    "sec-fetch-site": "same-origin",
    "user-agent": "Mozilla/5.0 (X11; Linux x86_64) Chrome/143.0.0.0",
}
CLIENTS: dict[str, dict[str, str]] = {
    "httpx": {
        "accept": "*/*",
        "accept-encoding": "gzip, deflate",
        "connection": "keep-alive",
        "user-agent": "httpx/0.28",
    },
    "Node's fetch": {"accept": "*/*", "accept-language": "*", "sec-fetch-mode": "cors", "user-agent": "node"},
    "Chrome's fetch": BROWSER,
    "behind an AWS load balancer": {
        "x-amzn-trace-id": "Root=1-67891233-abcdef012345678912345678",
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-port": "80",
        "x-forwarded-proto": "http",
    },
    "behind Cloudflare": {
        "cdn-loop": "cloudflare; loops=1",
        "cf-connecting-ip": "203.0.113.7",
        "cf-ipcountry": "DE",
        "cf-ray": "230b030023ae2822-FRA",
        "cf-visitor": '{"scheme":"http"}',
        "true-client-ip": "203.0.113.7",
        "x-forwarded-for": "203.0.113.7",
    },
    "behind nginx": {"x-real-ip": "203.0.113.7", "x-forwarded-for": "203.0.113.7", "via": "1.1 nginx"},
    "behind HAProxy": {"x-forwarded-for": "203.0.113.7", "x-unique-id": "7f000001:8b4e"},
    "traced": {
        "baggage": "sentry-trace_id=771a43a4192642f0b136d5159a501700",
        "sentry-trace": "771a43a4192642f0b136d5159a501700-7fad1a5b8e5c1b2d-1",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "a=b",
    },
    "Go": {"accept-encoding": "gzip", "user-agent": "Go-http-client/1.1"},
    ".NET": {"expect": "100-continue", "request-id": "|7a3f.1."},
    "with fields that mean something elsewhere": {
        "x-http-method-override": "DELETE",
        "x-requested-with": "XMLHttpRequest",
        "x-csrftoken": "x",
        "content-encoding": "gzip",
        "te": "trailers",
        "upgrade-insecure-requests": "1",
        "last-event-id": "1",
        "forwarded": "host=evil.example;proto=https",
        "x-original-url": "/admin/",
    },
}


@pytest.fixture(autouse=True)
def _fresh_limits() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def own_fields(world: World, **more: str) -> list[Field]:
    token = f"Token {world.tokens['ada']}"
    return [("host", "testserver"), ("authorization", token), ("x-request-id", "x"), *more.items()]


def request_of(world: World, call: str) -> tuple[str, str, list[Field], bytes | None]:
    """Method, path, header fields and body of a call."""
    if call in POSTED:
        return "POST", call, [*own_fields(world), ("content-type", "application/json")], orjson.dumps(POSTED[call])
    return "GET", world.path("queued") if call == "one job" else JOBS, own_fields(world), None


CALLS = ["one job", "list", *POSTED]


def lasting(answer: Answer) -> Any:
    """Without what differs from post to post."""
    if answer.status != 202:
        return answer
    changing = ("location", "content-length")
    return (
        answer.status,
        [field for field in answer.fields if field[0] not in changing],
        sorted(orjson.loads(answer.body)),
    )


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("client", CLIENTS)
def test_the_fields_of_real_clients_do_not_keep_a_request_from_being_gathered(
    paths: Paths, world: World, client: str, call: str
) -> None:
    method, path, headers, body = request_of(world, call)
    sent = [*headers, *CLIENTS[client].items()]
    ask(method, path, sent, body)  # shows the header fields of the plain answer
    cache.clear()
    answer, gathered = paths.ask(method, path, sent, body)
    cache.clear()
    assert gathered
    assert answer.status == (202 if method == "POST" else 200)
    assert lasting(answer) == lasting(paths.ask_plainly(method, path, sent, body))


@pytest.mark.parametrize("path", POSTED)
@pytest.mark.parametrize("form", ["; charset=utf-8", ";charset=UTF-8", '; charset="utf-8"'])
def test_json_may_name_its_charset(paths: Paths, world: World, path: str, form: str) -> None:
    sent = [*own_fields(world), ("content-type", f"application/json{form}")]
    body = orjson.dumps(POSTED[path])
    ask("POST", path, sent, body)
    answer, gathered = paths.ask("POST", path, sent, body)
    assert (answer.status, gathered) == (202, True)


@pytest.mark.parametrize("more", [{"content_length": "0"}, {"content_type": "application/json"}])
def test_a_get_may_say_that_it_has_no_body(paths: Paths, world: World, more: dict[str, str]) -> None:
    sent = own_fields(world, **{name.replace("_", "-"): value for name, value in more.items()})
    ask("GET", JOBS, own_fields(world))
    cache.clear()
    answer, gathered = paths.ask("GET", JOBS, sent)
    cache.clear()
    assert gathered
    assert answer == paths.ask_plainly("GET", JOBS, sent)


def test_http_1_0_is_gathered_too(paths: Paths, world: World) -> None:
    ask("GET", JOBS, own_fields(world))
    assert paths.ask("GET", JOBS, own_fields(world), http_version="1.0")[1]


# --- the fields that matter are known -----------------------------------------------------------------------------

ANY = "any field"


class RecordedEnviron(dict[str, Any]):
    """A WSGI environment that notes in `read` which header fields are read."""

    def __init__(self, environ: dict[str, Any], read: set[str]) -> None:
        super().__init__(environ)
        self.read = read

    def _note(self, name: object) -> None:
        text = str(name)
        if text.startswith("HTTP_") or text in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            self.read.add(text.removeprefix("HTTP_").replace("_", "-").lower())

    def __getitem__(self, name: str) -> Any:
        self._note(name)
        return super().__getitem__(name)

    def get(self, name: str, default: Any = None) -> Any:
        self._note(name)
        return super().get(name, default)

    def __contains__(self, name: object) -> bool:
        self._note(name)
        return super().__contains__(name)

    def __iter__(self) -> Iterator[str]:
        self.read.add(ANY)
        return super().__iter__()

    def items(self) -> Any:
        self.read.add(ANY)
        return super().items()

    def copy(self) -> dict[str, Any]:
        self.read.add(ANY)
        return super().copy()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The header fields that are read from now on by whatever handles a request behind Django's WSGI handler."""
    read: set[str] = set()

    class RecordedRequest(WSGIRequest):
        def __init__(self, environ: dict[str, Any]) -> None:
            super().__init__(RecordedEnviron(environ, read))

    class RecordedHeaders(HttpHeaders):
        def __init__(self, environ: dict[str, Any]) -> None:
            super().__init__(dict(dict.items(environ)))

        def __getitem__(self, name: str) -> str:
            read.add(name.replace("_", "-").lower())
            return super().__getitem__(name)

        def __iter__(self) -> Iterator[str]:
            read.add(ANY)
            return super().__iter__()

    monkeypatch.setattr(WSGIHandler, "request_class", RecordedRequest)
    monkeypatch.setattr("django.http.request.HttpHeaders", RecordedHeaders)
    return read


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("client", ["alone", *CLIENTS])
def test_every_field_that_a_plain_view_reads_is_known(
    paths: Paths, world: World, read: set[str], client: str, call: str
) -> None:
    method, path, headers, body = request_of(world, call)
    answer = paths.ask_plainly(method, path, [*headers, *CLIENTS.get(client, {}).items()], body)
    assert answer.status in (200, 202)
    matter = POST_FIELDS if body else GET_FIELDS
    assert {"authorization", "x-request-id", "host"} <= read, "nothing was recorded"
    assert {name for name in read if name.encode() not in matter} - ELSEWHERE.keys() <= (
        set() if body else {"content-type"}
    )
