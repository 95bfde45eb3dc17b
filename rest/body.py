"""Reads a request's whole body on the event loop, within limits, before the request gets a thread."""

import asyncio

from a2wsgi.asgi_typing import HTTPScope, Receive, ReceiveEvent
from django.conf import settings


class BodyTooLarge(Exception):
    """The body exceeds the limit of its path."""


class ClientDisconnected(Exception):
    """The client closed the connection before its body was complete."""


def body_limit(path: str) -> int:
    """Maximum size in bytes: BODY_LIMIT, or the value of the longest prefix of the path in BODY_LIMITS."""
    matching = [prefix for prefix in settings.BODY_LIMITS if path.startswith(prefix)]
    return settings.BODY_LIMITS[max(matching, key=len)] if matching else settings.BODY_LIMIT


async def read_body(scope: HTTPScope, receive: Receive) -> bytes:
    """Raises BodyTooLarge, ClientDisconnected, and TimeoutError if the whole body takes longer than BODY_SECONDS."""
    limit = body_limit(scope["path"])
    headers = dict(scope["headers"])
    if int(headers.get(b"content-length", b"0")) > limit:
        raise BodyTooLarge
    body, more = bytearray(), True
    async with asyncio.timeout(settings.BODY_SECONDS):
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise ClientDisconnected
            body += message["body"]
            if len(body) > limit:
                raise BodyTooLarge
            more = message.get("more_body", False)
    return bytes(body)


def has_body(scope: HTTPScope) -> bool:
    names = {name for name, _ in scope["headers"]}
    return b"content-length" in names or b"transfer-encoding" in names


def replay(body: bytes, receive: Receive) -> Receive:
    """A receive() that returns the whole body first, then the connection's further messages."""
    messages: list[ReceiveEvent] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> ReceiveEvent:
        return messages.pop() if messages else await receive()

    return next_message
