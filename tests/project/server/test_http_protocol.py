"""What arrives before there is a request: endless heads, slow ones, and nonsense. Over real sockets."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from project import asgi
from project.server import http_protocol
from rest.security_headers import FIELDS, hsts, with_security_headers


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    yield from serve(asgi.application)


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """A server that answers with the header fields which it received, after it has read the whole body."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        body = b"\n".join(name + b"=" + value for name, value in scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})

    yield from serve(application)


def serve(application: Any) -> Iterator[int]:
    server = uvicorn.Server(uvicorn.Config(application, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join()


def answer(port: int, *parts: bytes) -> bytes:
    """What comes back until the connection is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
        received = b""
        with contextlib.suppress(ConnectionError):
            while chunk := connection.recv(65536):
                received += chunk
    return received


def test_a_head_without_end_is_refused_early(port: int) -> None:
    line = b"X-Line: " + b"x" * 1000 + b"\r\n"
    received = answer(port, b"GET /healthz HTTP/1.1\r\nHost: a\r\n", *[line * 16] * 100)
    assert received == b"" or received.startswith(b"HTTP/1.1 431 ")


def test_a_header_line_without_end_is_refused_early(port: int) -> None:
    received = answer(port, b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: ", *[b"x" * 16_384] * 100)
    assert received == b"" or received.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "text", [b"nonsense\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\0\0\0\0", b"GET  HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_http_is_a_problem_or_a_closed_connection(port: int, text: bytes) -> None:
    received = answer(port, text + b"\r\n" * 2)
    assert received == b"" or b"application/problem+json" in received
    assert b"Traceback" not in received


def test_a_slow_head_is_cut_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_protocol, "HEAD_SECONDS", 0.2)
    assert answer(port, b"GET /healthz HTTP/1.1\r\nHost:").startswith(b"HTTP/1.1 408 ")
    assert answer(port) == b"", "a connection that says nothing"


def test_many_requests_on_one_connection_are_served_whatever_their_sum(port: int) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 30_000 + b"\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    received = answer(port, *[request] * 10, last)
    assert received.count(b"HTTP/1.1 200 ") == 11


def test_a_large_body_is_no_large_head(port: int) -> None:
    head = b"POST /api/v1/jobs/ HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\nConnection: close\r\n\r\n"
    for parts in ([head + b"x" * 500_000], [head, *[b"x" * 50_000] * 10]):
        assert answer(port, *parts).startswith(b"HTTP/1.1 401 ")


TRAILERS = {
    b"X-Forwarded-For": b"203.0.113.9",
    b"Authorization": b"Token forged",
    b"Content-Type": b"text/plain",
    b"X-Forwarded-Proto": b"https",
    b"Prefer": b"wait=20",
    b"X-Request-ID": b"forged",
    b"Expect": b"100-continue",
}


@pytest.mark.parametrize("reads", ["one read", "two reads"])
def test_trailer_fields_are_ignored(echo: int, reads: str) -> None:
    """RFC 9110, section 6.5.1: trailer fields are not merged with header fields unless their definition allows it."""
    head = b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"
    last = b"0\r\n" + b"".join(name + b": " + value + b"\r\n" for name, value in TRAILERS.items()) + b"\r\n"
    received = answer(echo, head + last) if reads == "one read" else answer(echo, head, last)
    names = {line.partition(b"=")[0] for line in received.partition(b"\r\n\r\n")[2].splitlines()}
    assert names == {b"host", b"connection", b"transfer-encoding"}


def test_a_request_after_trailer_fields_has_its_own_header_fields(echo: int) -> None:
    first = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nPrefer: wait=20\r\n\r\n"
    second = b"GET / HTTP/1.1\r\nHost: b\r\nPrefer: wait=3\r\nConnection: close\r\n\r\n"
    received = answer(echo, first + second)
    assert b"prefer=wait=3" in received
    assert b"wait=20" not in received


@pytest.mark.parametrize("line", [b"X-Line: " + b"x" * 1000 + b"\r\n", b"x" * 1000], ids=["fields", "one field"])
def test_a_trailer_without_end_is_refused_early(port: int, line: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    received = answer(port, head, b"X: ", *[line * 16] * 1000)
    assert received == b"" or received.startswith(b"HTTP/1.1 431 ")


def test_every_response_has_the_security_headers_and_no_server_header(port: int) -> None:
    for path in (b"/healthz", b"/api/v1/", b"/api/v1/nothing/", b"/static/nothing", b"/nothing"):
        received = answer(port, b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").lower()
        head = received.partition(b"\r\n\r\n")[0]
        for name, _ in FIELDS:
            assert name + b":" in head, (path, name)
        assert b"\r\nserver:" not in head


def test_headers_that_a_response_has_are_kept() -> None:
    given = [(b"Content-Security-Policy", b"default-src 'self'")]
    named = dict(with_security_headers(given, FIELDS + hsts(60, preload=True)))
    assert named[b"Content-Security-Policy"] == b"default-src 'self'"
    assert b"content-security-policy" not in named
    assert named[b"strict-transport-security"] == b"max-age=60; includeSubDomains; preload"
    assert hsts(0, preload=True) == []
