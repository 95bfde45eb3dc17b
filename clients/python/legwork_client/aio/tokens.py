"""tokens/: one token per device."""

from collections.abc import AsyncIterator

from legwork_client.aio.connection import AsyncConnection
from legwork_client.references import given
from legwork_client.types import ListedToken, NewToken


class AsyncTokens:
    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def create(self, username: str, password: str, *, name: str = "", scope: str | None = None) -> NewToken:
        """The only answer that has the key. scope: "all", "read" or "leases"."""
        body = given(username=username, password=password, name=name, scope=scope)
        token: NewToken = (await self._connection.request("POST", "tokens/", json=body)).json()
        return token

    def find(self) -> AsyncIterator[ListedToken]:
        return self._connection.pages("tokens/", {})

    async def revoke(self, token_id: str) -> None:
        """Log one device out."""
        await self._connection.request("DELETE", f"tokens/{token_id}/")

    async def revoke_current(self) -> None:
        """Log this device out."""
        await self._connection.request("DELETE", "tokens/current/")

    async def revoke_all(self) -> None:
        """Log all devices out."""
        await self._connection.request("DELETE", "tokens/")
