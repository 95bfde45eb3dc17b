"""Reads a request's whole body on the event loop, within limits, before the request gets a thread."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from a2wsgi.asgi_typing import HTTPScope, Receive, ReceiveEvent
from django.conf import settings

IsKnown = Callable[[], Awaitable[bool]]
"""Whether the request's credentials are valid; called only if its body is large, or the anonymous half is full."""


class BodyTooLarge(Exception):
    """The body exceeds the limit of its path."""


class CredentialsRequired(Exception):
    """A body of this size is read only for a known caller."""


class OutOfBudget(Exception):
    """This process holds as many bytes of bodies as it may."""


class ClientDisconnected(Exception):
    """The client closed the connection before its body was complete."""


class BodyBudget:
    """Counts the bytes of bodies that this process holds, from their arrival until their requests are answered.

    Used on the event loop only. Anonymous bodies may take half of BODY_BUDGET, so that they cannot lock out others.
    """

    def __init__(self) -> None:
        self.used = 0

    @contextmanager
    def share(self) -> Iterator["BodyShare"]:
        """One request's part, which is given back at the end of the block."""
        share = BodyShare(self)
        try:
            yield share
        finally:
            share.give_back()


class BodyShare:
    """One request's body, and what it takes of the budget."""

    def __init__(self, budget: BodyBudget) -> None:
        self.budget = budget
        self.size = 0
        self.known = False
        self.body = b""

    def give_back(self) -> None:
        """Drop the body: the request needs it no more."""
        self.budget.used -= self.size
        self.size, self.body = 0, b""

    def has_room(self, size: int) -> bool:
        return self.budget.used + size <= settings.BODY_BUDGET // (1 if self.known else 2)

    def take(self, size: int) -> None:
        """Raises OutOfBudget."""
        if not self.has_room(size):
            raise OutOfBudget
        self.budget.used += size
        self.size += size


def body_limit(path: str) -> int:
    """Maximum size in bytes: BODY_LIMIT, or the value of the longest prefix of the path in BODY_LIMITS."""
    matching = [prefix for prefix in settings.BODY_LIMITS if path.startswith(prefix)]
    return settings.BODY_LIMITS[max(matching, key=len)] if matching else settings.BODY_LIMIT


def anonymous_body_limit(path: str) -> int:
    """Maximum size without credentials. Providers' webhooks have none, only signatures in their bodies."""
    return body_limit(path) if path.startswith("/webhooks/") else settings.ANONYMOUS_BODY_LIMIT


async def read_body(scope: HTTPScope, receive: Receive, share: BodyShare, is_known: IsKnown) -> None:
    """Into share.body. Raises BodyTooLarge, CredentialsRequired, OutOfBudget, ClientDisconnected; after BODY_SECONDS
    TimeoutError."""
    limit, anonymous_limit = body_limit(scope["path"]), anonymous_body_limit(scope["path"])
    declared = int(dict(scope["headers"]).get(b"content-length", b"0"))
    if declared > limit:
        raise BodyTooLarge
    body, more = bytearray(), True
    async with asyncio.timeout(settings.BODY_SECONDS):
        while more:
            if not share.known and max(len(body), declared) > anonymous_limit:
                share.known = await is_known()
                if not share.known:
                    if not declared:
                        await _discard(receive, limit - len(body))
                    raise CredentialsRequired
            message = await receive()
            if message["type"] != "http.request":
                raise ClientDisconnected
            size = len(message["body"])
            if not share.has_room(size):
                share.known = share.known or await is_known()
            share.take(size)
            body += message["body"]
            if len(body) > limit:
                raise BodyTooLarge
            more = message.get("more_body", False)
    share.body = bytes(body)


async def _discard(receive: Receive, room: int) -> None:
    """Read the rest and keep nothing of it. Raises BodyTooLarge if it exceeds the room, ClientDisconnected."""
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnected
        room -= len(message["body"])
        if room < 0:
            raise BodyTooLarge
        more = message.get("more_body", False)


def has_body(scope: HTTPScope) -> bool:
    names = {name for name, _ in scope["headers"]}
    return b"content-length" in names or b"transfer-encoding" in names


def replay(share: BodyShare, receive: Receive) -> Receive:
    """A receive() that returns the whole body first, then the connection's further messages."""
    replayed = False

    async def next_message() -> ReceiveEvent:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": share.body, "more_body": False}

    return next_message
