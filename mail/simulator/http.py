"""What the simulator's handlers are given and give back: a request, and an answer or a silence."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class Answer:
    """`cut` is how many bytes of the body are sent before the connection is closed; all of them by default."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass(frozen=True, slots=True)
class Silence:
    """No answer: the connection is held for so many seconds, or until the client has gone, and then closed."""

    seconds: float = 0


Reply = Answer | Silence
Respond = Callable[..., Awaitable[Reply]]
"""A handler: takes the request, and the named groups of its path as keyword arguments."""


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def as_json(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(status, orjson.dumps(content), headers=headers or {})


def said(message: str, status: int = 200) -> Answer:
    """Mailgun's way of saying something: {"message": …}."""
    return as_json({"message": message}, status)


def text(content: str, status: int = 200) -> Answer:
    return Answer(status, content.encode(), "text/plain; charset=utf-8")
