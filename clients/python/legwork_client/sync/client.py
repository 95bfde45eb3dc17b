"""The client: one connection, and a noun for each part of the API."""

from types import TracebackType
from typing import Self

import httpx

from legwork_client.retries import Retries
from legwork_client.sync.connection import Connection
from legwork_client.sync.jobs import Jobs
from legwork_client.sync.leases import Leases
from legwork_client.sync.mail import Mail
from legwork_client.sync.tokens import Tokens


class Client:
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
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.token = token
        self._connection = Connection(url, token, timeout=timeout, retries=retries, transport=transport)
        self.jobs = Jobs(self._connection)
        self.mail = Mail(self._connection)
        self.tokens = Tokens(self._connection)
        self.leases = Leases(self._connection)

    @classmethod
    def login(
        cls, url: str | None, username: str, password: str, *, name: str = "", scope: str | None = None
    ) -> "Client":
        """A client with a new token; its key is in `token`. name: of this device. scope: "all", "read" or "leases"."""
        with cls(url) as anonymous:
            new = anonymous.tokens.create(username, password, name=name, scope=scope)
        return cls(url, new["token"])

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
