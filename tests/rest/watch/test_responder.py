"""Responses that are held and streams, without a database: the view is a function, and states come from the test."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from rest.site import Origin
from rest.watch import backlog, responder
from rest.watch import hub as hub_module
from rest.watch.hub import hub
from rest.watch.plans import SCOPE_KEY, Answer, Hold, Repeat, Stream
from rest.watch.position import OwnerPosition, RowPosition
from rest.watch.shutdown import end_watches_at_shutdown
from rest.watch.table import State, Topic
from rest.watch.watchers import watches_of
from tests.rest.watch.test_hub import FakeFeed, changes
from tests.support.timeouts import PATIENCE

ROW, OWNER = UUID(int=1), 7
JOB, JOBS = Topic("jobs_job", ROW), Topic("jobs_job", OWNER)
SITE = Origin("http://testserver")
START, BODY = "http.response.start", "http.response.body"


class Pool:
    """Stands for the pool of threads: answers like a view, and leaves the view's plan in the scope."""

    def __init__(self, plan: Any, status: int = 200, headers: Any = (), body: bytes = b"first") -> None:
        self.executor = ThreadPoolExecutor(1)
        self.plan, self.status, self.headers, self.body = plan, status, list(headers), body

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        scope[SCOPE_KEY] = self.plan
        await send({"type": START, "status": self.status, "headers": [*self.headers, (b"content-length", b"5")]})
        await send({"type": BODY, "body": self.body, "more_body": False})


class Client:
    """The client of one request. It disconnects once `left` is set, and reads nothing while it is `stuck`."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.left = asyncio.Event()
        self.stuck = False

    async def receive(self) -> Any:
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if self.stuck:
            await asyncio.sleep(PATIENCE)
        self.messages.append(message)

    @property
    def status(self) -> int:
        return self.messages[0]["status"]

    @property
    def headers(self) -> dict[str, str]:
        return {name.decode(): value.decode() for name, value in self.messages[0]["headers"]}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages)

    async def read(self, text: bytes) -> None:
        while text not in self.body:
            await asyncio.sleep(0)

    @property
    def is_complete(self) -> bool:
        return not self.messages[-1].get("more_body", False)


@pytest.fixture(autouse=True)
def _without_database(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "Feed", FakeFeed)


def run(pool: Pool, scenario: Callable[[Client, "asyncio.Task[None]"], Awaitable[None]]) -> Client:
    async def main() -> Client:
        client = Client()
        scope: Any = {"type": "http", "method": "GET", "path": "/"}
        async with asyncio.timeout(PATIENCE):
            request = asyncio.create_task(responder.respond(pool, scope, client.receive, client.send))  # type: ignore[arg-type]
            while not (hub().topics() or request.done()):
                await asyncio.sleep(0)
            await scenario(client, request)
            await request
        assert hub().is_empty
        return client

    return asyncio.run(main())


def publish(*states: State) -> None:
    hub().publish(changes(states))


def make_state(version: int, status: str = "running") -> State:
    return State(ROW, OWNER, version, {"status": status})


def is_final(state: State) -> bool:
    return state.values["status"] == "done"


def make_hold(seconds: int = PATIENCE, known: str = "") -> Hold:
    def answer(state: State, site: Any) -> Answer:
        return Answer(str(state.version).encode(), {"ETag": f'"{state.version}"', "Retry-After": None})

    return Hold(JOB, seconds, is_final, answer, SITE, known)


def make_stream(position: Any = None) -> Stream:
    return Stream(JOB, position or RowPosition(), "job", lambda state, site: b"{}", lambda state: True, is_final, SITE)


async def nothing(client: Client, request: Any) -> None:
    pass


# --- bounds --------------------------------------------------------------------------------------------------------


def test_a_user_with_the_allowed_number_of_watches_gets_no_further_stream(settings: Any) -> None:
    settings.MAX_WATCHES = 0
    client = run(Pool(make_stream()), nothing)
    assert (client.status, client.headers["content-type"]) == (429, "application/problem+json")
    assert b'"code":"quota_exceeded"' in client.body
    assert int(client.headers["retry-after"]) > 0


def test_a_user_with_the_allowed_number_of_watches_is_answered_at_once(settings: Any) -> None:
    settings.MAX_WATCHES = 0
    client = run(Pool(make_hold(), headers=[(b"preference-applied", b"wait=20")]), nothing)
    assert (client.status, client.body) == (200, b"first")
    assert "preference-applied" not in client.headers


def test_a_watch_counts_until_it_ends(settings: Any) -> None:
    settings.MAX_WATCHES = 1

    async def second_stream(client: Client, request: Any) -> None:
        another = Client()
        scope: Any = {"type": "http", "method": "GET", "path": "/"}
        await responder.respond(Pool(make_stream()), scope, another.receive, another.send)  # type: ignore[arg-type]
        assert another.status == 429
        publish(make_state(1, "done"))

    assert run(Pool(make_stream()), second_stream).status == 200
    assert watches_of(None) == 0


# --- held responses ------------------------------------------------------------------------------------------------


def test_a_response_is_held_until_the_state_is_final() -> None:
    async def scenario(client: Client, request: Any) -> None:
        publish(make_state(1))
        await asyncio.sleep(0.01)
        assert client.messages == []
        publish(make_state(2, "done"))

    client = run(Pool(make_hold(), headers=[(b"retry-after", b"1"), (b"etag", b'"0"')]), scenario)
    assert (client.status, client.body) == (200, b"2")
    assert client.headers["etag"] == '"2"'
    assert client.headers["content-length"] == "1"
    assert "retry-after" not in client.headers


def test_a_wait_without_news_ends_with_the_first_response() -> None:
    client = run(Pool(make_hold(seconds=0)), nothing)
    assert (client.status, client.body) == (200, b"first")


def test_a_wait_ends_with_the_newest_state() -> None:
    async def scenario(client: Client, request: Any) -> None:
        publish(make_state(1))

    assert run(Pool(make_hold(seconds=1)), scenario).body == b"1"


@pytest.mark.parametrize(("known", "status"), [('"2"', 304), ('W/"2"', 304), ("*", 304), ('"1"', 200), ("", 200)])
@pytest.mark.parametrize("first", [200, 304])
def test_if_none_match_applies_to_the_state_that_is_sent_in_the_end(known: str, status: int, first: int) -> None:
    async def scenario(client: Client, request: Any) -> None:
        publish(make_state(2, "done"))

    client = run(Pool(make_hold(known=known), status=first, headers=[(b"etag", b'"0"')]), scenario)
    assert (client.status, client.body) == (status, b"" if status == 304 else b"2")
    assert client.headers.get("content-length") == (None if status == 304 else "1")


@pytest.mark.parametrize("status", [400, 404, 503])
def test_an_error_is_never_held(status: int) -> None:
    client = run(Pool(make_hold(), status=status), nothing)
    assert (client.status, client.body) == (status, b"first")


def test_a_head_is_sent_with_the_beginning_of_its_body() -> None:
    """Between the two the process may be killed: half a response is worse for the client than none."""
    sent: list[Any] = []

    async def note(message: Any) -> None:
        sent.append(message["type"])

    async def pool(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": START, "status": 200, "headers": []})
        assert sent == []
        await send({"type": BODY, "body": b"first", "more_body": True})
        assert sent == [START, BODY]
        await send({"type": BODY, "body": b"", "more_body": False})

    asyncio.run(responder.respond(pool, {"type": "http"}, note, note))  # type: ignore[arg-type]
    assert sent == [START, BODY, BODY]


def test_the_watch_of_a_client_that_leaves_ends() -> None:
    async def scenario(client: Client, request: Any) -> None:
        client.left.set()

    run(Pool(make_hold()), scenario)


def test_a_held_request_is_answered_with_what_a_repeated_try_finds() -> None:
    answers = iter([None, Answer(b"found", {"Location": "/there/"}, 201)])

    async def scenario(client: Client, request: Any) -> None:
        hub().publish_page([hub_module_watch()], [make_state(1)], complete=True)
        await asyncio.sleep(0.01)
        publish(make_state(2))

    plan = Repeat(JOBS, OwnerPosition(0, resumes=True), PATIENCE, bool, lambda: next(answers), copy_context())
    client = run(Pool(plan, status=204), scenario)
    assert (client.status, client.body) == (201, b"found")
    assert client.headers["location"] == "/there/"


def hub_module_watch() -> Any:
    [watch] = hub()._watches[JOBS]
    return watch


# --- streams -------------------------------------------------------------------------------------------------------


def test_a_stream_tells_each_change_and_ends_with_the_final_one() -> None:
    async def scenario(client: Client, request: Any) -> None:
        publish(make_state(1))
        await client.read(b"id: 1\n")
        publish(make_state(2))
        await client.read(b"id: 2\n")
        publish(make_state(2), make_state(3, "done"))

    client = run(Pool(make_stream()), scenario)
    assert client.body.count(b"event: job\n") == 3
    assert client.body.endswith(b"event: job\nid: 3\ndata: {}\n\n")
    assert "content-length" not in client.headers
    assert client.is_complete


def test_a_stream_without_news_ends_after_the_final_state() -> None:
    async def scenario(client: Client, request: Any) -> None:
        publish(make_state(3, "done"))

    client = run(Pool(make_stream(RowPosition(3))), scenario)
    assert client.body == responder.COMMENT
    assert client.is_complete


def test_a_silent_stream_has_comments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder, "COMMENT_EVERY", 0.001)

    async def scenario(client: Client, request: Any) -> None:
        await client.read(3 * responder.COMMENT)
        client.left.set()

    run(Pool(make_stream()), scenario)


@pytest.mark.parametrize("reason", ["the process stops", "it is old"])
def test_a_stream_that_ends_early_says_when_to_come_again(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(client: Client, request: Any) -> None:
        if reason == "the process stops":
            hub().close()

    if reason == "it is old":
        monkeypatch.setattr(responder, "LONGEST", 0)
    client = run(Pool(make_stream()), scenario)
    assert client.body.endswith(b"retry: 2000\n\n")
    assert client.is_complete


def test_a_client_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder, "SLOW", 0.01)

    async def scenario(client: Client, request: Any) -> None:
        await client.read(responder.COMMENT)
        client.stuck = True
        publish(make_state(1))

    assert not run(Pool(make_stream()), scenario).is_complete


def test_a_stream_sends_more_when_what_it_has_sent_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responder, "PORTION", 15)
    monkeypatch.setattr(responder, "READ_ON", 1)
    stream = replace(make_stream(OwnerPosition(0, resumes=False)), topic=JOBS)

    async def scenario(client: Client, request: Any) -> None:
        await client.read(responder.COMMENT)
        publish(*(State(UUID(int=number), OWNER, number, {"status": ""}, characters=10) for number in (1, 2, 3)))
        await client.read(b"id: 3")
        client.left.set()

    client = run(Pool(stream), scenario)
    events = [message["body"].count(b"data:") for message in client.messages[2:-3]]
    assert events == [0, 2, 0, 1, 0], "an empty part waits until the part before it was read"


def test_a_client_that_does_not_read_is_dropped_at_once_if_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(client: Client, request: Any) -> None:
        await client.read(responder.COMMENT)
        client.stuck = True
        publish(make_state(1))
        while not hub().backlog._sending:
            await asyncio.sleep(0)
        monkeypatch.setattr(backlog, "MOST", 10)
        hub().backlog.add(make_state(2))

    assert not run(Pool(make_stream()), scenario).is_complete


def test_the_signals_of_a_server_end_all_watches() -> None:
    called: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: called.append(number))
    interrupt = signal.getsignal(signal.SIGINT)

    async def main() -> None:
        end_watches_at_shutdown()
        with hub().watch(JOB) as watch:
            signal.raise_signal(signal.SIGTERM)
            assert not await watch.changed(PATIENCE)
            assert watch.closed

    try:
        asyncio.run(main())
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, interrupt)
    assert called == [signal.SIGTERM]
