"""The client: one connection, and a noun for each part of the API."""

from types import TracebackType
from typing import Self

import httpx

from legwork_client.aio.connection import AsyncConnection
from legwork_client.aio.jobs import AsyncJobs
from legwork_client.aio.leases import AsyncLeases
from legwork_client.aio.mail import AsyncMail
from legwork_client.aio.tokens import AsyncTokens
from legwork_client.retries import Retries


class AsyncClient:
    """url: of the site, such as https://legwork.example.org. token: see login(). timeout: seconds without a byte.

    Without url and token it takes LEGWORK_URL and LEGWORK_TOKEN from the environment. Use it in a `with` block, or
    close() it.
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
        self.token = token
        self._connection = AsyncConnection(url, token, timeout=timeout, retries=retries, transport=transport)
        self.jobs = AsyncJobs(self._connection)
        self.mail = AsyncMail(self._connection)
        self.tokens = AsyncTokens(self._connection)
        self.leases = AsyncLeases(self._connection)

    @classmethod
    async def login(
        cls, url: str | None, username: str, password: str, *, name: str = "", scope: str | None = None
    ) -> "AsyncClient":
        """A client with a new token; its key is in `token`. name: of this device. scope: "all", "read" or "leases"."""
        async with cls(url) as anonymous:
            new = await anonymous.tokens.create(username, password, name=name, scope=scope)
        return cls(url, new["token"])

    async def close(self) -> None:
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
