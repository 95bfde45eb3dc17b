"""The HTTP front of deploy/haproxy before a real web process: slow and endless clients keep no others waiting."""

import contextlib
import socket
import socketserver
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import requests

from demo.eventually import eventually
from demo.processes import Process, free_port
from tests.support.servers.haproxy import DEPLOY, program
from tests.support.stack import Stack

SLOW, ENDLESS = 500, 20
GETS = 40
QUICK = 2.0
"""Seconds: much less than the slow ones are given, on any machine."""


class Front:
    """HAProxy with deploy/haproxy/front.cfg before one web process."""

    def __init__(self, web: str, folder: Path, **more: str) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        env = {"FRONT_BIND": f"127.0.0.1:{port}", "WEB_1": web, "WEB_2": web} | more
        command = [program(), "-W", "-db", "-dW", "-f", str(DEPLOY / "front.cfg")]
        self.process = Process("front", command, log=folder / "front.log", env=env, cwd=folder)

    def start(self) -> None:
        self.process.start()
        eventually(self.answers, 60, "the front")

    def answers(self) -> bool:
        self.process.check()
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.url}/healthz", timeout=5).ok
        return False


@pytest.fixture(scope="module")
def front(_sqlite_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address, before the web process of the stack."""
    front = Front(f"127.0.0.1:{_sqlite_stack.port}", tmp_path_factory.mktemp("front"))
    front.start()
    yield front.url
    front.process.stop()


class FakeWeb(socketserver.BaseRequestHandler):
    """A web process that is ready. It closes the connection of the first request for /job without an answer."""

    got: ClassVar[list[bytes]] = []
    """The first bytes of each request for /job."""

    def handle(self) -> None:
        request = self.request.recv(65536)
        if b" /job " in request:
            self.got.append(request)
            if len(self.got) == 1:
                return
        self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.fixture
def front_of_a_fake(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Front]:
    """Its parameter: more variables."""
    FakeWeb.got.clear()
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), FakeWeb) as web:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        front = Front(f"127.0.0.1:{web.server_address[1]}", tmp_path, **getattr(request, "param", {}))
        front.start()
        yield front
        front.process.stop()
        web.shutdown()


def port_of(front: str) -> int:
    return int(front.rpartition(":")[2])


@pytest.mark.usefixtures("sqlite_stack")
def test_requests_pass_with_headers_and_without_a_server_name(front: str) -> None:
    answer = requests.get(f"{front}/api/v1/", timeout=30)
    assert answer.status_code == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Server" not in answer.headers


@pytest.mark.usefixtures("sqlite_stack")
@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/api/v1/tokens/", {"Content-Length": str(2 * 1024 * 1024)}, 413),
        ("POST", "/api/v1/mail/messages/", {"Content-Length": str(11 * 1024 * 1024)}, 413),
        ("GET", "/api/v1/jobs/?kind=" + "x" * 9000, {}, 414),
        ("BREW", "/api/v1/jobs/", {}, 405),
        ("GET", "/metrics", {}, 404),
    ],
)
def test_a_request_beyond_the_limits_is_refused_with_a_problem(
    front: str, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    lines = [f"{method} {path} HTTP/1.1", "Host: a", *(f"{name}: {value}" for name, value in headers.items())]
    with socket.create_connection(("127.0.0.1", port_of(front)), timeout=60) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        received = connection.recv(65536)
    assert received.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"application/problem+json" in received


@pytest.mark.usefixtures("sqlite_stack")
def test_trailer_fields_change_nothing_behind_the_front(front: str) -> None:
    """HAProxy collects a request and passes it on at once, so trailer fields arrive together with the head."""
    head = b"POST /api/v1/session/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    trailers = b"X-Request-ID: forged-by-a-trailer\r\nAuthorization: Token forged\r\nContent-Type: text/plain\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port_of(front)), timeout=60) as connection:
        connection.sendall(head + b"2\r\n{}\r\n0\r\n" + trailers)
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 403 "), "no CSRF header, whatever the trailer fields say"
    assert b"x-request-id: " in received.lower()
    assert b"forged-by-a-trailer" not in received


@pytest.mark.usefixtures("sqlite_stack")
def test_a_malformed_request_gets_a_closed_connection(front: str) -> None:
    for text in (b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nBad Header: x\r\n\r\n", b"\0" * 100):
        with socket.create_connection(("127.0.0.1", port_of(front)), timeout=60) as connection:
            connection.sendall(text)
            assert connection.recv(65536) == b""


@pytest.mark.usefixtures("sqlite_stack")
def test_clients_are_served_while_hundreds_of_others_are_slow_or_endless(front: str) -> None:
    """These come from one address, so those beyond the allowed number are refused at once."""
    opened: list[socket.socket] = []
    try:
        for number in range(SLOW + ENDLESS):
            with contextlib.suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", port_of(front)), timeout=60)
                opened.append(connection)
                connection.sendall(b"GET /api/v1/ HTTP/1.1\r\nHost: a\r\nX-Slow: ")
                if number >= SLOW:
                    connection.settimeout(0.05)
                    for _ in range(50):
                        connection.sendall(b"x" * 1024)
        # Another address of this machine is another client.
        waits = []
        for _ in range(GETS):
            began = time.monotonic()
            assert get_from("127.0.0.2", port_of(front)).startswith(b"HTTP/1.1 200 ")
            waits.append(time.monotonic() - began)
    finally:
        for connection in opened:
            connection.close()
    p95 = statistics.quantiles(waits, n=20)[-1]
    print(f"beside {SLOW} slow and {ENDLESS} endless clients: p95 {1000 * p95:.0f} ms of {GETS} GETs")  # noqa: T201
    assert p95 < QUICK


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /job HTTP/1.1", 200),
        (b"POST /job HTTP/1.1\r\nContent-Length: 4\r\nIdempotency-Key: a", 200),
        (b"POST /job HTTP/1.1\r\nContent-Length: 4", 502),
    ],
)
def test_what_a_dying_web_process_left_is_repeated_by_another_if_that_is_safe(
    front_of_a_fake: Front, head: bytes, status: int
) -> None:
    """It gets head and body at once: HAProxy repeats no request whose process resets the connection between the two."""
    port, body = port_of(front_of_a_fake.url), b"body" if head.startswith(b"POST") else b""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(head + b"\r\nHost: a\r\n\r\n")
        # Time enough for HAProxy to pass the head on.
        assert get_from("127.0.0.1", port).startswith(b"HTTP/1.1 200 ")
        connection.sendall(body)
        assert connection.recv(65536).startswith(f"HTTP/1.1 {status} ".encode())
    assert len(FakeWeb.got) == (2 if status == 200 else 1)
    assert all(each.endswith(b"\r\n\r\n" + body) for each in FakeWeb.got)


@pytest.mark.parametrize(
    ("front_of_a_fake", "address", "proto"),
    [({}, b"127.0.0.1", b"http"), ({"BEHIND_BALANCER": "yes"}, b"198.51.100.7", b"https")],
    indirect=["front_of_a_fake"],
)
def test_the_clients_address_is_taken_from_a_known_balancer_only(
    front_of_a_fake: Front, address: bytes, proto: bytes
) -> None:
    said = {"X-Forwarded-For": "192.0.2.1, 198.51.100.7", "X-Forwarded-Proto": "https", "X-Forwarded-Port": "1"}
    requests.get(f"{front_of_a_fake.url}/job", headers={**said, "X_Forwarded_For": "192.0.2.1"}, timeout=60)
    lines = FakeWeb.got[0].lower().split(b"\r\n")
    forwarded = {line for line in lines if line.startswith((b"x-forwarded-for", b"x-forwarded-p", b"x_"))}
    assert forwarded == {b"x-forwarded-for: " + address, b"x-forwarded-proto: " + proto}


def test_a_front_that_is_killed_answers_nobody_until_it_is_back(front_of_a_fake: Front) -> None:
    front_of_a_fake.process.kill()
    with pytest.raises(requests.ConnectionError):
        requests.get(front_of_a_fake.url, timeout=60)
    front_of_a_fake.start()
    assert front_of_a_fake.answers()


def get_from(address: str, port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=60, source_address=(address, 0)) as connection:
        connection.sendall(b"GET /api/v1/ HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        return connection.recv(65536)
