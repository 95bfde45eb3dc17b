"""The pool of threads that run Django. No caller gets all of them: its further requests wait on the event loop.

Waiting there takes no thread, so other callers are served at once.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast

from a2wsgi import WSGIMiddleware
from a2wsgi.asgi_typing import HTTPScope, Receive, Scope, Send
from a2wsgi.wsgi_typing import WSGIApp
from django.conf import settings
from django.http import parse_cookie

from rest.throttling import address_in, network_of
from rest.watch.watchers import USER_KEY

MOST_KNOWN = 10_000
"""Credentials whose user is remembered."""
ALL_NETWORKS = "all networks"
"""The caller that all requests without known credentials are, besides their network."""


class FairPool(WSGIMiddleware):
    """Used on one event loop. If there is only one thread, a caller gets it for one request at a time.

    A caller is a user if this process has already accepted the same credentials, else a network: inventing tokens does
    not make new callers. All networks together leave one thread to the users, and each leaves one to other networks.
    """

    def __init__(self, app: WSGIApp, workers: int, send_queue_size: int) -> None:
        super().__init__(app, workers, send_queue_size)
        self._share = max(1, workers - 1)
        self._share_of_network = max(1, workers - 2)
        self._turns: dict[object, asyncio.Semaphore] = {}
        self._present: dict[object, int] = {}
        self._users: dict[object, object] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await super().__call__(scope, receive, send)
        credentials = credentials_of(scope)
        async with AsyncExitStack() as turns:
            if known := self._users.get(credentials):
                await turns.enter_async_context(self._turn(known, self._share))
            else:
                network = network_of(address_in(scope))
                await turns.enter_async_context(self._turn(network, self._share_of_network))
                await turns.enter_async_context(self._turn(ALL_NETWORKS, self._share))
            await super().__call__(scope, receive, send)
        user = cast("dict[str, Any]", scope).get(USER_KEY)
        if user and credentials:
            if len(self._users) >= MOST_KNOWN:
                self._users.clear()
            self._users[credentials] = user

    @asynccontextmanager
    async def _turn(self, caller: object, share: int) -> AsyncIterator[None]:
        """A block that begins when it is this caller's turn, first come, first served. share: its turns at a time."""
        turns = self._turns.setdefault(caller, asyncio.Semaphore(share))
        self._present[caller] = self._present.get(caller, 0) + 1
        try:
            async with turns:
                yield
        finally:
            self._present[caller] -= 1
            if not self._present[caller]:
                del self._present[caller], self._turns[caller]


def credentials_of(scope: HTTPScope) -> bytes | str | None:
    """The token or session of a request, not checked."""
    fields = dict(scope["headers"])
    if token := fields.get(b"authorization", b"").split()[-1:]:
        return token[0]
    return parse_cookie(fields.get(b"cookie", b"").decode("latin-1")).get(settings.SESSION_COOKIE_NAME)
