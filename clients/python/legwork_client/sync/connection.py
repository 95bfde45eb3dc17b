"""Sends requests: with the token, retried where that is safe, and with typed errors for what the API refuses."""

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from time import sleep
from typing import Any

import httpx

from legwork_client.errors import ApiError, Unreachable, error_for
from legwork_client.retries import REFUSED_UNSEEN, TEMPORARY, Retries, retry_after

API = "/api/v1/"
URL, TOKEN = "LEGWORK_URL", "LEGWORK_TOKEN"
LOCAL = "http://127.0.0.1:8000"
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
REPEATABLE = frozenset({"GET", "PUT", "PATCH", "DELETE"})


class Connection:
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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.retries = retries or Retries()
        self.timeout = timeout
        url = url or os.environ.get(URL, LOCAL)
        token = token or os.environ.get(TOKEN)
        headers = {"Authorization": f"Token {token}"} if token else {}
        root = url.rstrip("/").removesuffix(API.rstrip("/")) + API
        self._http = httpx.Client(base_url=root, headers=headers, timeout=timeout, transport=transport)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def create(self, path: str, body: object, key: str | None = None, **options: Any) -> httpx.Response:
        """POST with an idempotency key, by which a repeated request has its effect once. key: a random one if None."""
        headers = {"Idempotency-Key": key or str(uuid.uuid4()), **options.pop("headers", {})}
        return self.request("POST", path, json=body, headers=headers, repeatable=True, **options)

    def request(
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
                response = self._http.request(method, path, timeout=timeout or self.timeout, **options)
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
            sleep(wait)

    @contextmanager
    def stream(self, path: str, headers: Mapping[str, str], silence: float) -> Iterator[httpx.Response]:
        """One GET whose body is read as it comes. silence: seconds without a byte after which it fails. Not retried."""
        timeout = httpx.Timeout(self.timeout, read=silence)
        with self._http.stream("GET", path, headers=headers, timeout=timeout) as response:
            yield response

    def pages(self, path: str, filters: Mapping[str, Any]) -> Iterator[Any]:
        """The items of a list, over all its pages."""
        params = {name: value for name, value in filters.items() if value is not None}
        response = self.get(path, params=params)
        while True:
            page = response.json()
            yield from page["results"]
            if page["next"] is None:
                return
            response = self.get(page["next"])
