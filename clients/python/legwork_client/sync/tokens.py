"""tokens/: one token per device."""

from collections.abc import Iterator

from legwork_client.references import given
from legwork_client.sync.connection import Connection
from legwork_client.types import ListedToken, NewToken


class Tokens:
    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(self, username: str, password: str, *, name: str = "", scope: str | None = None) -> NewToken:
        """The only answer that has the key. scope: "all", "read" or "leases"."""
        body = given(username=username, password=password, name=name, scope=scope)
        token: NewToken = (self._connection.request("POST", "tokens/", json=body)).json()
        return token

    def find(self) -> Iterator[ListedToken]:
        return self._connection.pages("tokens/", {})

    def revoke(self, token_id: str) -> None:
        """Log one device out."""
        self._connection.request("DELETE", f"tokens/{token_id}/")

    def revoke_current(self) -> None:
        """Log this device out."""
        self._connection.request("DELETE", "tokens/current/")

    def revoke_all(self) -> None:
        """Log all devices out."""
        self._connection.request("DELETE", "tokens/")
