"""No caller gets all threads of a web process, whatever it sends at once."""

import asyncio
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from project.server.fair_pool import FairPool, credentials_of
from rest.watch.watchers import USER_KEY
from tests.support.timeouts import PATIENCE

EVE, ADA = [(b"authorization", b"Token eve")], [(b"authorization", b"Token ada")]


class Threads:
    """A WSGI application: requests for /slow wait for `let_go`."""

    def __init__(self, user: int | None = None) -> None:
        self.let_go = threading.Event()
        self.running = threading.Semaphore(0)
        self.user = user

    def __call__(self, environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        if self.user:
            environ["asgi.scope"][USER_KEY] = self.user
        if environ["PATH_INFO"] == "/slow":
            self.running.release()
            assert self.let_go.wait(PATIENCE)
        start_response("200 OK", [])
        return [b"done"]


async def ask(pool: FairPool, path: str, headers: Any, address: str = "192.0.2.1") -> bytes:
    body = b""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        nonlocal body
        body += message.get("body", b"")

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers}
    more = {"http_version": "1.1", "scheme": "http", "root_path": "", "server": ("x", 80), "client": (address, 1)}
    await pool(scope | more, receive, send)  # type: ignore[arg-type]
    return body


def running(threads: Threads, number: int) -> None:
    for _ in range(number):
        assert threads.running.acquire(timeout=PATIENCE)


def test_others_are_served_while_one_caller_sends_slow_requests() -> None:
    async def main() -> None:
        threads = Threads()
        pool = FairPool(threads, workers=3, send_queue_size=8)
        slow = [asyncio.create_task(ask(pool, "/slow", EVE)) for _ in range(20)]
        await asyncio.to_thread(running, threads, 1)
        async with asyncio.timeout(PATIENCE):
            assert [await ask(pool, "/", ADA, "192.0.2.2") for _ in range(3)] == [b"done"] * 3
        assert not any(request.done() for request in slow)
        threads.let_go.set()
        assert await asyncio.gather(*slow) == [b"done"] * 20
        assert not pool._turns, "a caller without requests is forgotten"

    asyncio.run(main())


def test_a_user_with_many_tokens_is_one_caller() -> None:
    async def main() -> None:
        threads = Threads(user=7)
        pool = FairPool(threads, workers=3, send_queue_size=8)
        tokens = [[(b"authorization", f"Token t{number}".encode())] for number in range(6)]
        for token in tokens:
            await ask(pool, "/", token)
        slow = [asyncio.create_task(ask(pool, "/slow", token)) for token in tokens]
        await asyncio.to_thread(running, threads, 2)
        async with asyncio.timeout(PATIENCE):
            assert await ask(pool, "/", ADA) == b"done"
        threads.let_go.set()
        await asyncio.gather(*slow)

    asyncio.run(main())


def test_invented_tokens_and_sessions_are_one_caller_with_their_network() -> None:
    async def main() -> None:
        threads = Threads()
        pool = FairPool(threads, workers=3, send_queue_size=8)
        tokens = [[(b"authorization", f"Token t{number}".encode())] for number in range(6)]
        sessions = [[(b"cookie", f"sessionid=s{number}".encode())] for number in range(6)]
        addresses = [f"2001:db8::{number}" for number in range(12)]
        requests = zip([*tokens, *sessions], addresses, strict=True)
        slow = [asyncio.create_task(ask(pool, "/slow", *request)) for request in requests]
        await asyncio.to_thread(running, threads, 1)
        async with asyncio.timeout(PATIENCE):
            assert await ask(pool, "/", ADA, "2001:db8:0:1::1") == b"done"
        threads.let_go.set()
        await asyncio.gather(*slow)

    asyncio.run(main())


def test_unknown_callers_from_many_networks_leave_a_thread_to_users() -> None:
    async def main() -> None:
        threads = Threads(user=7)
        pool = FairPool(threads, workers=3, send_queue_size=8)
        await ask(pool, "/", ADA)
        slow = [asyncio.create_task(ask(pool, "/slow", EVE, f"192.0.2.{number}")) for number in range(20)]
        await asyncio.to_thread(running, threads, 2)
        async with asyncio.timeout(PATIENCE):
            assert await ask(pool, "/", ADA) == b"done"
        threads.let_go.set()
        await asyncio.gather(*slow)

    asyncio.run(main())


def test_a_login_does_not_tie_its_address_to_the_user() -> None:
    async def main() -> None:
        threads = Threads(user=7)
        pool = FairPool(threads, workers=3, send_queue_size=8)
        await ask(pool, "/", [])
        assert not pool._users

    asyncio.run(main())


def test_a_request_that_is_given_up_leaves_its_turn() -> None:
    async def main() -> None:
        threads = Threads()
        pool = FairPool(threads, workers=1, send_queue_size=8)
        first, second = (asyncio.create_task(ask(pool, "/slow", EVE)) for _ in range(2))
        await asyncio.to_thread(running, threads, 1)
        second.cancel()
        with suppress(asyncio.CancelledError):
            await second
        threads.let_go.set()
        assert await first == b"done"
        assert await ask(pool, "/", EVE) == b"done"

    asyncio.run(main())


def test_credentials_are_a_token_or_a_session() -> None:
    def credentials(*headers: tuple[bytes, bytes]) -> object:
        return credentials_of({"headers": headers})  # type: ignore[typeddict-item]

    cookie = (b"cookie", b"a=b; sessionid=abc")
    assert credentials() is None
    assert credentials((b"cookie", b"a=b")) is None
    assert credentials(cookie) == credentials((b"cookie", b"sessionid=abc; junk=1")) == "abc"
    assert credentials(cookie, (b"authorization", b"Token  t")) == credentials((b"authorization", b"token t")) == b"t"
