"""The ASGI application: reads a request, finds who answers it, and sends the answer, or nothing."""

import asyncio
import logging
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple
from urllib.parse import parse_qs

from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from mail.simulator.http import Answer, RefusedError, Reply, Request, Respond, said

logger = logging.getLogger(__name__)

BODY_LIMIT = 25 * 1024 * 1024 + 64 * 1024
"""Mailgun's limit for a message, and some room for the form around it."""


class ClientLeftError(Exception):
    """The client closed the connection before its request was whole."""


class Route(NamedTuple):
    """`path` is a pattern for the whole path; `{name}` in it takes one segment."""

    method: str
    path: str
    respond: Respond


class App:
    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = [(route, _compiled(route.path)) for route in routes]

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            return
        try:
            body = await _read_body(receive)
        except ClientLeftError:
            return
        reply = said("Message is too large", 413) if body is None else await self._answer(_request(scope, body))
        if isinstance(reply, Answer):
            await _send(scope, reply, send)
        else:
            await _wait_for_the_end(receive, reply.seconds)
            _hang_up(scope)

    async def _answer(self, request: Request) -> Reply:
        try:
            return await self._respond(request)
        except RefusedError as error:
            return said(error.message, error.status)
        except Exception:
            logger.exception("The simulator failed at %s %s", request.method, request.path)
            return said("Internal Server Error", 500)

    async def _respond(self, request: Request) -> Reply:
        method = "GET" if request.method == "HEAD" else request.method
        if method != "GET" and request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise RefusedError(403, "Another site's page may change nothing here.")
        known = False
        for route, path in self._routes:
            if found := path(request.path):
                known = True
                if route.method == method:
                    return await route.respond(request, **found.groupdict())
        raise RefusedError(405, "Method not allowed") if known else RefusedError(404, "Not Found")


def _compiled(path: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))).fullmatch


def _request(scope: HTTPScope, body: bytes) -> Request:
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


async def _read_body(receive: ASGIReceiveCallable) -> bytes | None:
    """None when it is too long; it is read to its end all the same, because clients answer no question before."""
    chunks: list[bytes] = []
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientLeftError
        length += len(message["body"])
        more = message["more_body"]
        if length > BODY_LIMIT:
            chunks.clear()
        else:
            chunks.append(message["body"])
    return b"".join(chunks) if length <= BODY_LIMIT else None


async def _send(scope: HTTPScope, answer: Answer, send: ASGISendCallable) -> None:
    given = {"content-type": answer.content_type, "content-length": str(len(answer.body)), **answer.headers}
    headers = [(name.lower().encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers, "trailers": False})
    cut = answer.cut is not None
    await send({"type": "http.response.body", "body": answer.body[: answer.cut], "more_body": cut})
    if cut:
        _hang_up(scope)


async def _wait_for_the_end(receive: ASGIReceiveCallable, seconds: float) -> None:
    """Until the client has closed the connection, but not for longer than so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        pass


def _hang_up(scope: HTTPScope) -> None:
    transport: asyncio.Transport = scope["state"]["transport"]
    transport.close()
