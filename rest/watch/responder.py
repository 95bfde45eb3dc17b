"""Follows plans on the event loop: the view has responded and its thread is free again; the response waits here."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor
from http import HTTPStatus
from typing import Any, cast

import structlog
from a2wsgi import WSGIMiddleware
from a2wsgi.asgi_typing import HTTPScope, Receive, Send, SendEvent
from django.conf import settings
from django.db import close_old_connections

from rest import problems
from rest.responses import matches
from rest.usage import RETRY_AFTER
from rest.watch.hub import Watch, hub
from rest.watch.login import LOGIN_KEY
from rest.watch.plans import SCOPE_KEY, Answer, Hold, Plan, Repeat, Stream
from rest.watch.table import State
from rest.watch.watchers import USER_KEY, another_watch

log = structlog.get_logger(__name__)

Headers = list[tuple[bytes, bytes]]

COMMENT_EVERY = 15.0
"""Seconds without an event after which a comment is sent, so that no proxy closes the connection."""
COMMENT = b":\n\n"
RETRY = 2000
"""Milliseconds after which a client reconnects if this process ended its stream."""
LONGEST = 3600.0
"""Seconds after which a stream is ended, so that its client reconnects and is authenticated again."""
SLOW = 20.0
"""Seconds within which a client must read what was sent; otherwise it is dropped."""
PORTION = 256 * 1024
"""Characters of rows that a stream sends at once; the next ones when they have been read."""
READ_ON = 64 * 1024
"""Bytes: uvicorn's high-water mark. After a larger body the next send() waits until the client has read most of it."""


async def respond(
    pool: WSGIMiddleware,
    scope: HTTPScope,
    receive: Receive,
    send: Send,
    before_waiting: Callable[[], None] = lambda: None,
) -> None:
    """Run the request on the pool. If its view has left a plan, call before_waiting and follow the plan."""
    response = _Response(scope, send)
    await pool(scope, receive, response.receive)
    plan: Plan | None = cast("dict[str, Any]", scope).pop(SCOPE_KEY, None)
    if plan is None or not response.kept:
        return
    before_waiting()
    with another_watch(cast("dict[str, Any]", scope).get(USER_KEY)) as has_room:
        if has_room:
            await _follow(plan, pool, scope, receive, send, response)
        else:
            await _decline(plan, response)


async def _follow(
    plan: Plan, pool: WSGIMiddleware, scope: HTTPScope, receive: Receive, send: Send, response: "_Response"
) -> None:
    with _watch(plan) as watch:
        watch.login = cast("dict[str, Any]", scope).get(LOGIN_KEY)
        leaving = asyncio.create_task(_until_disconnected(receive, watch))
        try:
            match plan:
                case Hold():
                    await _hold(plan, watch, response)
                case Repeat():
                    await _repeat(plan, watch, response, pool.executor)
                case Stream():
                    await _stream(plan, watch, response, send, scope["path"])
        except TimeoutError:
            log.info("watcher_dropped", path=scope["path"])  # no final chunk is sent, so the server cuts the connection
        finally:
            leaving.cancel()


async def _decline(plan: Plan, response: "_Response") -> None:
    """The user watches as much as allowed: a stream is refused, and what would be held is answered at once."""
    response.set(b"preference-applied", None)
    if isinstance(plan, Stream):
        response.refuse(429, f"You may have {settings.MAX_WATCHES} streams and held responses at a time.")
    await response.send()


def _watch(plan: Plan) -> Watch:
    match plan:
        case Hold():
            return hub().watch(plan.topic)
        case Repeat():
            return hub().watch(plan.topic, plan.position)
        case Stream():
            return hub().watch(plan.topic, plan.position, plan.final)


class _Response:
    """Passes a response on, unless its view has left a plan: then it is kept.

    The head is sent together with the beginning of the body, which comes from a thread a moment later: while nothing of
    a response has arrived, a proxy can repeat the request of a killed process.
    """

    def __init__(self, scope: HTTPScope, send: Send) -> None:
        self._scope = scope
        self._send = send
        self._head: SendEvent | None = None
        self.kept = False
        self.status = 0
        self.headers: Headers = []
        self.body = b""

    async def receive(self, message: SendEvent) -> None:
        if message["type"] == "http.response.start":
            self.kept = SCOPE_KEY in self._scope and message["status"] < HTTPStatus.BAD_REQUEST
            self.status, self.headers = message["status"], list(message.get("headers", []))
            self._head = message
        elif not self.kept:
            if self._head is not None:
                await self._send(self._head)
                self._head = None
            await self._send(message)
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")

    def fill(self, answer: Answer, known: str) -> None:
        """Make the answer the response. known: the client's If-None-Match."""
        for name, value in answer.headers.items():
            self.set(name.lower().encode(), value)
        tag = answer.headers.get("ETag")
        if tag and known and matches(tag, known):
            self.status, self.body = HTTPStatus.NOT_MODIFIED, b""
            self.set(b"content-length", None)
            return
        if self.status == HTTPStatus.NOT_MODIFIED:
            self.status = HTTPStatus.OK
        self.status, self.body = answer.status or self.status, answer.body
        self.set(b"content-type", "application/json")

    def refuse(self, status: int, detail: str) -> None:
        self.status, self.body = status, problems.document(status, detail, self._scope["path"], code="quota_exceeded")
        self.set(b"content-type", problems.MEDIA_TYPE)
        self.set(b"retry-after", str(RETRY_AFTER))

    async def send(self) -> None:
        if self.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            self.set(b"content-length", str(len(self.body)))
        await self._send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await self._send({"type": "http.response.body", "body": self.body, "more_body": False})

    def set(self, name: bytes, value: str | None) -> None:
        self.headers = [(other, kept) for other, kept in self.headers if other != name]
        if value is not None:
            self.headers.append((name, value.encode("latin-1")))


async def _until_disconnected(receive: Receive, watch: Watch) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    watch.close()


async def _hold(plan: Hold, watch: Watch, response: _Response) -> None:
    deadline = time.monotonic() + plan.seconds
    newest: State | None = None
    while (left := deadline - time.monotonic()) > 0 and await watch.changed(left):
        newest = watch.take()[-1]
        watch.position.tell(newest)
        if plan.until(newest):
            break
    if newest is not None:
        response.fill(plan.answer(newest, plan.site), plan.known)
    await response.send()


async def _repeat(plan: Repeat, watch: Watch, response: _Response, executor: Executor) -> None:
    deadline = time.monotonic() + plan.seconds
    while (left := deadline - time.monotonic()) > 0 and await watch.changed(left):
        states = watch.take()
        for state in states:
            plan.position.tell(state)
        if not any(plan.wanted(state) for state in states):
            continue
        answer = await asyncio.get_running_loop().run_in_executor(executor, plan.context.run, _call, plan.again)
        if answer is not None:
            response.fill(answer, "")
            break
    await response.send()


def _call(again: Callable[[], Answer | None]) -> Answer | None:
    """As Django does around a request: close connections that are broken or too old."""
    close_old_connections()
    try:
        return again()
    finally:
        close_old_connections()


async def _stream(plan: Stream, watch: Watch, response: _Response, send: Send, path: str) -> None:
    started = time.monotonic()
    response.set(b"content-length", None)
    await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
    # At once, so that the client knows that it is connected.
    await _send(send, watch, COMMENT)
    told = 0
    while not (watch.over or watch.closed) and time.monotonic() - started < LONGEST:
        if await watch.changed(COMMENT_EVERY):
            count, events = _events(plan, watch)
            told += count
            await _send(send, watch, events)
        elif not (watch.over or watch.closed):
            await _send(send, watch, COMMENT)
    if not watch.over:
        await _send(send, watch, f"retry: {RETRY}\n\n".encode())
    await _send(send, watch, b"", more=False)
    log.info("stream_ended", path=path, seconds=round(time.monotonic() - started, 1), events=told)


def _events(plan: Stream, watch: Watch) -> tuple[int, bytes]:
    """How many events there are to tell now, and their text; ends the watch with the final state."""
    events = []
    for state in watch.take(PORTION):
        number = watch.position.tell(state)
        if plan.wanted(state):
            events.append(_event(plan, state, number))
        if plan.final(state):
            watch.end()
    return len(events), b"".join(events)


def _event(plan: Stream, state: State, number: int) -> bytes:
    data = state.rendered.get(plan.site)
    if data is None:
        data = state.rendered[plan.site] = plan.data(state, plan.site)
    return b"event: %b\nid: %d\ndata: %b\n\n" % (plan.event.encode(), number, data)


async def _send(send: Send, watch: Watch, body: bytes, *, more: bool = True) -> None:
    """Raises TimeoutError if the client does not read. Returns when it has read most of a large body."""
    async with asyncio.timeout(SLOW) as deadline:
        with hub().backlog.sending(watch, len(body), deadline):
            await send({"type": "http.response.body", "body": body, "more_body": more})
            if len(body) > READ_ON:
                await send({"type": "http.response.body", "body": b"", "more_body": more})
                await asyncio.sleep(0)  # a turn for others
