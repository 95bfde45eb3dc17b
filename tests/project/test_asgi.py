"""The way in: bodies are bounded in size and time before a thread is spent on them, over real sockets and without."""

import asyncio
import http.client
import select
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import uvicorn

from demo.eventually import eventually
from mail.webhooks import counts
from project import asgi
from project.health import ALIVE
from project.login import last_used
from project.server.http_protocol import PEER_KEY
from tests.support.asgi_requests import scope_of
from tests.support.timeouts import PATIENCE

pytest_plugins = ["tests.support.api_fixtures"]

NOTHING, TOKENS = "/api/v1/nothing/", "/api/v1/tokens/"
JSON = {"Content-Type": "application/json"}
WRITERS = {"last-used", "webhook-counts"}
"""Threads."""


@pytest.fixture(autouse=True)
def _nothing_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts that other tests have left would be written, and most of these tests have no database."""
    for module in (counts, last_used):
        monkeypatch.setattr(module, "WRITE_EVERY", float(PATIENCE))


class Answer:
    def __init__(self, messages: list[dict[str, Any]]) -> None:
        self.messages = messages
        self.status = messages[0]["status"] if messages else None
        self.headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]} if messages else {}
        self.body = b"".join(message.get("body", b"") for message in messages[1:])


def ask(
    path: str = NOTHING,
    chunks: Iterable[bytes | None] = (),
    method: str = "POST",
    headers: Iterable[tuple[bytes, bytes]] = (),
    **more: Any,
) -> Answer:
    """The application's answer to a request whose body comes in these chunks; None: the client disconnects."""
    return ask_without_host(path, [(b"host", b"testserver"), *headers], chunks, method, **more)


def ask_without_host(
    path: str,
    headers: Iterable[tuple[bytes, bytes]],
    chunks: Iterable[bytes | None] = (),
    method: str = "GET",
    **more: Any,
) -> Answer:
    sent: list[dict[str, Any]] = []
    parts = list(chunks)

    async def receive() -> dict[str, Any]:
        if not parts or (chunk := parts.pop(0)) is None:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": chunk, "more_body": bool(parts)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = scope_of(method, path, headers=list(headers), **more)
    asyncio.run(asgi.application(scope, receive, send))  # type: ignore[arg-type]
    return Answer(sent)


CHUNKED = [(b"transfer-encoding", b"chunked"), (b"content-type", b"application/json")]


# --- bodies --------------------------------------------------------------------------------------------------------


def test_a_chunked_body_arrives_whole() -> None:
    answer = ask(TOKENS, [b'{"username": "a", ', b'"password": "b", ', b'"more": 1}'], headers=CHUNKED)
    assert answer.status == 400
    assert b'"field":"more"' in answer.body


def test_a_body_may_be_as_large_as_the_limit_and_no_larger(settings: Any) -> None:
    settings.BODY_LIMIT = 10
    assert ask(chunks=[b"x" * 10], headers=[(b"content-length", b"10")]).status == 404
    assert ask(chunks=[b"x" * 5, b"x" * 5], headers=CHUNKED).status == 404
    assert ask(chunks=[b"x" * 11], headers=[(b"content-length", b"11")]).status == 413
    assert ask(chunks=[b"x" * 5, b"x" * 5, b"x"], headers=CHUNKED).status == 413


def test_a_path_may_have_a_limit_of_its_own(settings: Any) -> None:
    settings.BODY_LIMIT = 10
    settings.BODY_LIMITS = {"/api/": 20, "/api/v1/nothing/": 30}
    statuses = [ask(path, [b"x" * 25], headers=CHUNKED).status for path in (NOTHING, TOKENS, "/else/")]
    assert statuses == [404, 413, 413]


def test_a_refusal_is_a_problem_and_carries_the_request_id(settings: Any) -> None:
    settings.BODY_LIMIT = 10
    answer = ask(headers=[(b"content-length", b"11"), (b"x-request-id", b"my-id")])
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "my-id"
    assert b'"status":413' in answer.body


def test_a_client_that_leaves_before_its_body_is_complete_gets_nothing() -> None:
    assert ask(chunks=[b"x", None], headers=CHUNKED).status is None


# --- what is cleaned before Django sees it -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kept"), [("my.id_1-2", True), ("x" * 128, True), ("x" * 129, False), ("a b", False)]
)
def test_a_sane_request_id_is_kept_and_another_replaced(given: str, kept: bool) -> None:
    for path in (NOTHING, "/healthz"):
        answer = ask(path, method="GET", headers=[(b"x-request-id", given.encode())])
        assert (answer.headers["x-request-id"] == given) is kept
        assert answer.headers["x-request-id"]


def test_a_header_with_an_underscore_does_not_count_as_one_with_a_hyphen() -> None:
    answer = ask(method="GET", headers=[(b"x_request_id", b"forged")])
    assert answer.headers["x-request-id"] != "forged"


def test_a_query_that_is_not_ascii_is_no_fault_of_the_server() -> None:
    assert ask(method="GET", query_string="a=ü&b=%ff".encode()).status == 404


# --- what goes wrong -----------------------------------------------------------------------------------------------


def test_an_error_that_escapes_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(asgi, "pool", broken)
    answer = ask(method="GET")
    assert answer.status == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert b"secret" not in answer.body


def test_an_error_after_the_answer_has_begun_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError

    monkeypatch.setattr(asgi, "pool", broken)
    with pytest.raises(RuntimeError):
        ask(method="GET")


def test_the_background_writers_run_during_the_lifespan() -> None:
    sent: list[str] = []
    messages = ["lifespan.startup", "lifespan.shutdown"]

    async def receive() -> dict[str, Any]:
        assert messages[0] == "lifespan.startup" or names_of_threads() > WRITERS
        return {"type": messages.pop(0)}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    asyncio.run(asgi.application({"type": "lifespan", "asgi": {}}, receive, send))  # type: ignore[arg-type]
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    eventually(lambda: not WRITERS & names_of_threads(), PATIENCE, "the writers' end")


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_health_is_answered_while_every_thread_is_busy(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asgi, "POOL_SECONDS", 0.05)
    done = threading.Event()
    try:
        for _ in range(settings.WEB_THREADS):
            asgi.pool.executor.submit(done.wait)
        assert ask("/healthz", method="GET").body == ALIVE
        ready = ask("/readyz", method="GET")
        assert ready.status == 503
        assert b'"threads":"exhausted"' in ready.body
    finally:
        done.set()
    monkeypatch.setattr(asgi, "POOL_SECONDS", PATIENCE)
    assert b'"threads":"ok"' in ask("/readyz", method="GET").body


@pytest.mark.parametrize(
    ("version", "hosts", "status"),
    [("1.1", [], 400), ("1.1", [b"a", b"b"], 400), ("1.1", [b"testserver"], 200), ("1.0", [], 200)],
)
def test_http_1_1_needs_one_host(version: str, hosts: list[bytes], status: int) -> None:
    """RFC 9112, section 3.2."""
    fields = [(b"host", host) for host in hosts]
    answer = ask_without_host("/healthz", fields, http_version=version)
    assert answer.status == status
    if status == 400:
        assert answer.headers["content-type"] == "application/problem+json"


# --- over sockets --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["httptools", "h11"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A real uvicorn on a free port, in this process so that a test can change settings."""
    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(asgi.application, http=request.param, ws="none", log_config=None, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        listening.close()
        assert not thread.is_alive()


def call(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as connection:
        connection.request(method, path, body, headers, encode_chunked=not isinstance(body, bytes | None))
        answer = connection.getresponse()
        return answer.status, answer.read()


def raw(port: int, text: bytes) -> bytes:
    with connected(port) as connection:
        connection.sendall(text)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def connected(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def test_a_server_serves(port: int) -> None:
    assert call(port, "GET", "/healthz") == (200, ALIVE)
    assert call(port, "GET", NOTHING)[0] == 404


def test_a_client_that_sends_too_much_reads_413(port: int) -> None:
    body = b"x" * (3 * 1024 * 1024)
    assert call(port, "POST", TOKENS, body)[0] == 413
    chunks = (body[at : at + 65536] for at in range(0, len(body), 65536))
    assert call(port, "POST", TOKENS, chunks, **{"Transfer-Encoding": "chunked"})[0] == 413


def test_a_chunked_body_arrives_over_a_socket(port: int) -> None:
    chunks = iter([b'{"username": "a", ', b'"password": "b", "more": 1}'])
    status, body = call(port, "POST", TOKENS, chunks, **JSON, **{"Transfer-Encoding": "chunked"})
    assert status == 400
    assert b'"field":"more"' in body


BEGINNING = b"POST /api/v1/tokens/ HTTP/1.1\r\nHost: x\r\nX-Request-ID: slow\r\nContent-Length: 100\r\n\r\nx"


def test_a_slow_body_is_408(port: int, settings: Any) -> None:
    settings.BODY_SECONDS = 0.1
    answer = raw(port, BEGINNING).lower()
    assert answer.startswith(b"http/1.1 408")
    assert b"x-request-id: slow" in answer
    assert b"connection: close" in answer
    assert b"application/problem+json" in answer


def test_slow_bodies_hold_up_nobody_meanwhile(port: int, settings: Any) -> None:
    settings.BODY_SECONDS = 10 * PATIENCE
    with ExitStack() as left_again:
        slow = [left_again.enter_context(connected(port)) for _ in range(3 * settings.WEB_THREADS)]
        for connection in slow:
            connection.sendall(BEGINNING)
        assert call(port, "GET", NOTHING)[0] == 404
        assert select.select(slow, [], [], 0)[0] == []


def test_a_forwarded_address_is_not_believed_from_this_machine_either(port: int, settings: Any) -> None:
    settings.RATE_LIMIT_PER_MINUTE = 2
    statuses = [call(port, "GET", NOTHING, **{"X-Forwarded-For": f"192.0.2.{n}:{n}"})[0] for n in range(3)]
    assert statuses == [404, 404, 429]


def test_a_client_that_forwards_its_own_address_keeps_it() -> None:
    scope = scope_of("GET", NOTHING, [("x-forwarded-for", "192.0.2.1")], **{PEER_KEY: ("192.0.2.1", 1234)})
    assert asgi._sanitised(scope)["client"] == ("192.0.2.1", 1234)


@pytest.mark.parametrize(
    "line", [b"GET /\xc3\xa9?\xc3\xa9=\xff HTTP/1.1", b"GET /%FF%00?%FF HTTP/1.1", b"BREW /healthz HTTP/1.1"]
)
def test_odd_bytes_on_the_wire_are_no_fault_of_the_server(port: int, line: bytes) -> None:
    answer = raw(port, line + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 4"), answer


def test_development_answers_nothing_to_other_machines(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def gathered(*arguments: Any) -> None:
        pytest.fail("a gathered request was answered")

    settings.LOOPBACK_ONLY = True
    monkeypatch.setattr(asgi.gathering, "serve", gathered)
    assert ask("/api/v1/jobs/", method="GET", server=("192.0.2.2", 80)).status == 403


def test_a_client_that_does_not_read_holds_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its response is cut off, and the thread that makes it goes on to the end."""
    monkeypatch.setattr(asgi, "CHUNK_SECONDS", 0.01)
    told: list[str] = []

    async def view(scope: Any, receive: Any, send: Any, plain: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1000):
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        told.append("all")

    async def send(message: Any) -> None:
        told.append(message["type"])
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def respond(scope: Any) -> None:
        async with asyncio.timeout(PATIENCE):
            await asgi.application(scope, None, send)  # type: ignore[arg-type]

    monkeypatch.setattr(asgi.gathering, "serve", view)
    scope: Any = scope_of("GET", "/", headers=[(b"host", b"testserver")])
    asyncio.run(respond(scope))
    assert told == ["http.response.start", "http.response.body", "all"]
