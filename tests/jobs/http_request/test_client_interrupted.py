"""http.request's calls when their thread is interrupted while it waits for the other side, which stays silent."""

import contextlib
import gc
import socket
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest

from demo.eventually import eventually
from jobs.errors import TransientError
from jobs.http_request import client
from jobs.models import Job
from jobs.models.states import Status
from jobs.registry import find_kind
from jobs.run import Run
from jobs.worker.attempts.interrupt import Cancelled, OtherThread
from tests.jobs.worker.attempts.test_interrupt_other_thread import in_a_thread
from tests.support.factories import disconnected, make_job, row
from tests.support.fakes import checking_timeouts
from tests.support.servers.web import make_raw_server, make_server
from tests.support.standalone_worker import Broker, contained, make_io_worker, run_to_the_end, stop
from tests.support.timeouts import PATIENCE

LONG = 10 * PATIENCE
"""Seconds that nobody waits for."""

Reached = Callable[[], object]
"""True once a call has got as far as it can."""

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <(socket|ssl):ResourceWarning")


@pytest.fixture(autouse=True)
def _nothing_is_left_to_other_tests() -> Iterator[None]:
    """An interruption may come in the middle of close(): then only the garbage collector closes the socket."""
    yield
    gc.collect()


@contextlib.contextmanager
def silent_answer() -> Iterator[tuple[str, Reached]]:
    over = Event()
    with make_server(lambda asked: over.wait(LONG) and (200, {}, b"")) as server:
        try:
            yield server.url, lambda: server.asked
        finally:
            over.set()


@contextlib.contextmanager
def silent_handshake() -> Iterator[tuple[str, Reached]]:
    with listening() as server:
        greeted: list[bytes] = []

        def be_greeted() -> None:
            with server.accept()[0] as other_side:
                greeted.append(other_side.recv(1, socket.MSG_PEEK))
                over.wait(LONG)

        over = Event()
        with in_a_thread(be_greeted):
            try:
                yield f"https://127.0.0.1:{server.getsockname()[1]}/", lambda: greeted
            finally:
                over.set()


@contextlib.contextmanager
def silent_connection() -> Iterator[tuple[str, Reached]]:
    """The server's backlog is full: Linux drops the SYN of any further connection."""
    with listening(backlog=0) as server, socket.create_connection(server.getsockname()):
        yield f"http://127.0.0.1:{server.getsockname()[1]}/", lambda: syn_sent_to(server.getsockname()[1])


@contextlib.contextmanager
def listening(backlog: int = 1) -> Iterator[socket.socket]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(backlog)
        yield server


def syn_sent_to(port: int) -> bool:
    """True if /proc/net/tcp (proc(5)) has a connection to this port in the state SYN_SENT."""
    with open("/proc/net/tcp") as table:
        return any(line.split()[2:4] == [f"0100007F:{port:04X}", "02"] for line in table)


@pytest.mark.parametrize("silent", [silent_answer, silent_handshake, silent_connection])
def test_a_call_that_waits_for_the_other_side_is_interrupted_at_once(silent: Any) -> None:
    with silent() as (url, reached):
        assert_interrupted(url, reached)


@pytest.fixture
def over() -> Iterator[Event]:
    """Set at the end of the test: servers that must not answer before wait for it."""
    yield (event := Event())
    event.set()


def test_a_call_that_waits_for_a_name_is_interrupted_at_once(monkeypatch: pytest.MonkeyPatch, over: Event) -> None:
    asked = Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **options: asked.set() or (over.wait(LONG) and []))
    assert_interrupted("http://slow.example/", asked.is_set)


def assert_interrupted(url: str, reached: Reached) -> None:
    thread, reason = OtherThread(), Cancelled("now")

    def call() -> None:
        client.call("GET", url, timeout=LONG, allowed_hosts=["127.0.0.1"], on_interruption=thread.on_interruption)

    with in_a_thread(lambda: thread.call(call, LONG)) as ended:
        eventually(reached, PATIENCE, "the call")
        thread.interrupt(reason)
        with checking_timeouts(thread):
            eventually(lambda: ended, PATIENCE, "its end")
    assert ended == [reason]


@pytest.mark.parametrize("drop", [b"x", b""], ids=["drips", "is silent"])
def test_a_call_ends_by_itself_within_the_timeout_of_its_job(settings: Any, drop: bytes) -> None:
    settings.HTTP_REQUEST_ALLOWED_HOSTS = ["127.0.0.1"]
    run = Run(Job(kind="http.request", timeout=1))
    with make_raw_server(b"HTTP/1.1 200 OK\r\n\r\n", drop) as url, pytest.raises(TransientError, match="within 1 s"):
        find_kind("http.request").handler(run, url=url)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("how", ["is cancelled", "takes too long"])
def test_a_call_to_a_silent_server_does_not_block_its_worker(
    monkeypatch: pytest.MonkeyPatch, settings: Any, over: Event, how: str
) -> None:
    settings.HTTP_REQUEST_ALLOWED_HOSTS = ["127.0.0.1"]

    def never(asked: Any) -> tuple[int, dict[str, str], bytes]:
        if how == "is cancelled":
            with disconnected():
                Job.objects.get().cancel()
        over.wait(LONG)
        return 200, {}, b""

    with contained(monkeypatch), make_server(never) as server:
        timeout = 1 if how == "takes too long" else 60
        job = make_job(kind="http.request", params={"url": server.url}, timeout=timeout)
        worker = make_io_worker(monkeypatch, Broker(stop))
        run_to_the_end(worker)
    assert row(job)["status"] == (Status.CANCELLED if how == "is cancelled" else Status.RETRYING)
    assert worker.handle.watchdog.started() == []
