"""Requests to the ASGI application without a server, answered as it is in production: by its threads and their
connections, which see only what is committed."""

import asyncio
from collections.abc import Iterable
from typing import Any, NamedTuple

from project import asgi

Field = tuple[str, str]


class Answer(NamedTuple):
    """fields: sorted, with names in lower case."""

    status: int
    fields: list[Field]
    body: bytes

    def field(self, name: str) -> str | None:
        return dict(self.fields).get(name)


def scope_of(method: str, path: str, fields: Iterable[Field] = (), **more: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode()) for name, value in fields],
        "client": ("192.0.2.1", 1234),
        "server": ("testserver", 80),
        **more,
    }


def ask(method: str, path: str, fields: Iterable[Field] = (), body: bytes | None = None, **more: Any) -> Answer:
    return asyncio.run(asked(method, path, fields, body, **more))


async def asked(method: str, path: str, fields: Iterable[Field] = (), body: bytes | None = None, **more: Any) -> Answer:
    """A request that a test can send at the same time as others."""
    messages: list[dict[str, Any]] = []
    if body is not None:
        fields = [*fields, ("content-length", str(len(body)))]

    requests = [{"type": "http.request", "body": body or b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if not requests:
            await asyncio.Event().wait()  # the client stays
        return requests.pop()

    async def send(message: Any) -> None:
        messages.append(message)

    await asgi.application(scope_of(method, path, fields, **more), receive, send)  # type: ignore[arg-type]
    received = sorted((name.decode().lower(), value.decode()) for name, value in messages[0]["headers"])
    return Answer(messages[0]["status"], received, b"".join(message["body"] for message in messages[1:]))
