"""Reading a request's body on the event loop, whole and bounded, before any thread is spent on the request."""

import asyncio

from a2wsgi.asgi_typing import HTTPScope, Receive, ReceiveEvent
from django.conf import settings


class BodyTooLarge(Exception):
    """The body is larger than its path allows."""


class ClientLeft(Exception):
    """The client closed the connection before its body was complete."""


def body_limit(path: str) -> int:
    """The bytes a body may have: BODY_LIMIT, or what BODY_LIMITS says of the longest path that this one begins with."""
    matching = [prefix for prefix in settings.BODY_LIMITS if path.startswith(prefix)]
    return settings.BODY_LIMITS[max(matching, key=len)] if matching else settings.BODY_LIMIT


async def read_body(scope: HTTPScope, receive: Receive) -> bytes:
    """Raises BodyTooLarge, ClientLeft, or TimeoutError after BODY_SECONDS, however slowly the bytes drop in."""
    limit = body_limit(scope["path"])
    headers = dict(scope["headers"])
    if int(headers.get(b"content-length", b"0")) > limit:
        raise BodyTooLarge
    async with asyncio.timeout(settings.BODY_SECONDS):
        return await _collected(receive, limit)


async def _collected(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientLeft
        body += message["body"]
        if len(body) > limit:
            raise BodyTooLarge
        more = message.get("more_body", False)
    return bytes(body)


def has_body(scope: HTTPScope) -> bool:
    names = {name for name, _ in scope["headers"]}
    return b"content-length" in names or b"transfer-encoding" in names


def replayed(body: bytes, receive: Receive) -> Receive:
    """A receive that gives the whole body at once, and then whatever the connection says."""
    messages: list[ReceiveEvent] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> ReceiveEvent:
        return messages.pop() if messages else await receive()

    return next_message
