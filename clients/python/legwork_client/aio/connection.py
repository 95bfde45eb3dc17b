"""Sends requests: with the token, retried where that is safe, and with typed errors for what the API refuses."""

import os
import uuid
from asyncio import sleep
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx

from legwork_client.errors import ApiError, Unreachable, error_for
from legwork_client.retries import REFUSED_UNSEEN, TEMPORARY, Retries, retry_after

API = "/api/v1/"
URL, TOKEN = "LEGWORK_URL", "LEGWORK_TOKEN"
LOCAL = "http://127.0.0.1:8000"
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
REPEATABLE = frozenset({"GET", "PUT", "PATCH", "DELETE"})


class AsyncConnection:
    """url: of the site, LEGWORK_URL by default. token: LEGWORK_TOKEN by default. timeout: seconds without a byte.

    transport: httpx's, for tests.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        retries: Retries | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.retries = retries or Retries()
        self.timeout = timeout
        url = url or os.environ.get(URL, LOCAL)
        token = token or os.environ.get(TOKEN)
        headers = {"Authorization": f"Token {token}"} if token else {}
        root = url.rstrip("/").removesuffix(API.rstrip("/")) + API
        self._http = httpx.AsyncClient(base_url=root, headers=headers, timeout=timeout, transport=transport)

    async def close(self) -> None:
        await self._http.aclose()

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("GET", path, **options)

    async def create(self, path: str, body: object, key: str | None = None, **options: Any) -> httpx.Response:
        """POST with an idempotency key, by which a repeated request has its effect once. key: a random one if None."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4()), **options.pop("headers", {})}
        return await self.request("POST", path, json=body, headers=headers, repeatable=True, **options)

    async def request(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool | None = None,
        timeout: float | None = None,
        **options: Any,
    ) -> httpx.Response:
        """path: below /api/v1/, or a URL that the API returned. Raises ApiError for 400 and more, Unreachable.

        repeatable: may be sent again although it may have had its effect; by default what HTTP calls idempotent.
        timeout: seconds, instead of the connection's.
        """
        repeatable = method in REPEATABLE if repeatable is None else repeatable
        attempt = 0
        while True:
            attempt += 1
            failure: Unreachable | ApiError
            try:
                response = await self._http.request(method, path, timeout=timeout or self.timeout, **options)
            except httpx.TransportError as error:
                failure = Unreachable(f"{method} {path}: {type(error).__name__} {error}".rstrip())
                may_repeat, wait = repeatable or isinstance(error, NEVER_SENT), self.retries.wait_after(attempt)
            else:
                if response.status_code < 400:
                    return response
                failure = error_for(response)
                may_repeat = response.status_code in (TEMPORARY if repeatable else REFUSED_UNSEEN)
                wait = self.retries.wait_after(attempt, retry_after(response.headers.get("Retry-After")))
            if not may_repeat or wait is None:
                raise failure
            await sleep(wait)

    @asynccontextmanager
    async def stream(self, path: str, headers: Mapping[str, str], silence: float) -> AsyncIterator[httpx.Response]:
        """One GET whose body is read as it comes. silence: seconds without a byte after which it fails. Not retried."""
        timeout = httpx.Timeout(self.timeout, read=silence)
        async with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            yield response

    async def pages(self, path: str, filters: Mapping[str, Any]) -> AsyncIterator[Any]:
        """The items of a list, over all its pages."""
        params = {name: value for name, value in filters.items() if value is not None}
        response = await self.get(path, params=params)
        while True:
            page = response.json()
            for item in page["results"]:
                yield item
            if page["next"] is None:
                return
            response = await self.get(page["next"])
