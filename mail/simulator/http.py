"""What handlers take and return: requests, responses, and the lack of one."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

Fields = Mapping[str, object]
"""A JSON object."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def root(self) -> str:
        """The URL of this server, as the client knows it."""
        return f"http://{self.headers.get('host', 'localhost')}"

    def first(self, name: str, default: str = "") -> str:
        """The first value of a query parameter."""
        return self.query.get(name, [default])[0]

    def json_object(self) -> dict[str, object]:
        """The body. Raises RequestError(400) if it is not a JSON object; an empty body is an empty object."""
        try:
            found = orjson.loads(self.body or b"{}")
        except orjson.JSONDecodeError:
            found = None
        if not isinstance(found, dict):
            raise RequestError(400, "The body must be a JSON object.")
        return found


@dataclass(frozen=True, slots=True)
class Response:
    """`cut`: bytes of the body that are sent before the connection is closed. None: all, and it stays open."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass(frozen=True, slots=True)
class NoResponse:
    """The connection is closed without a response, after so many seconds or when the client has closed it."""

    seconds: float = 0


Reply = Response | NoResponse
Handler = Callable[..., Awaitable[Reply]]
"""Takes the request, and the named parts of its path as keyword arguments."""


class Route(NamedTuple):
    """`path` is a pattern for the whole path; `{name}` in it matches one segment."""

    method: str
    path: str
    handler: Handler


class RequestError(Exception):
    """Answered with this status and {"message": …}."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def as_json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(status, orjson.dumps(content), headers=headers or {})


def as_message(message: str, status: int = 200) -> Response:
    """{"message": …}, as Mailgun answers."""
    return as_json({"message": message}, status)


def as_text(content: str, status: int = 200) -> Response:
    return Response(status, content.encode(), "text/plain; charset=utf-8")
