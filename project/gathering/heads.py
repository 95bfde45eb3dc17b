"""The header fields of gathered answers: learnt from the plain view's answers, so that they are the same."""

from collections.abc import Collection, Hashable, Mapping
from functools import lru_cache
from io import BytesIO
from typing import Generic, TypeVar

from a2wsgi.asgi_typing import Send, SendEvent
from django.core.handlers.wsgi import WSGIRequest

from project.gathering.requests import Origin

Call = TypeVar("Call", bound=Hashable)

Fields = list[tuple[bytes, bytes]]

VARIABLE = frozenset({b"content-length", b"etag", b"location", b"ratelimit", b"ratelimit-policy", b"retry-after"}) | {
    b"x-request-id"
}
"""Fields that every answer has of its own. All others depend on the origin, the call and the status alone."""
NEVER_SHARED = frozenset({b"set-cookie", b"idempotency-replayed"})
LIMIT = 256
"""Origins, calls and statuses that are kept. Clients choose the Host, within ALLOWED_HOSTS."""


class Heads(Generic[Call]):
    """What the middlewares and the plain view send with an answer, whatever these are: one answer of each sort goes
    through them and shows it. An origin whose requests they refuse or redirect is never learnt."""

    def __init__(self) -> None:
        self._fields: dict[tuple[Call, Origin, int], Fields] = {}

    def fields(self, call: Call, origin: Origin, status: int) -> Fields | None:
        return self._fields.get((call, origin, status))

    def fields_for(self, call: Call, origin: Origin, status: int, similar: int) -> Fields:
        """Those of this status; else those of the status `similar`, without what describes its body."""
        if (found := self.fields(call, origin, status)) is not None:
            return found
        return [(name, value) for name, value in self.fields(call, origin, similar) or () if name != b"content-type"]

    def learn_from(self, send: Send, call: Call, origin: Origin, statuses: Collection[int]) -> Send:
        """A send() that learns, if the status is one of these."""

        async def learning(message: SendEvent) -> None:
            if message["type"] == "http.response.start" and message["status"] in statuses:
                self._learn((call, origin, message["status"]), list(message["headers"]))
            await send(message)

        return learning

    def _learn(self, key: tuple[Call, Origin, int], fields: Fields) -> None:
        names = {name.lower() for name, _ in fields}
        if len(self._fields) < LIMIT and not names & NEVER_SHARED:
            self._fields[key] = [(name.lower(), value) for name, value in fields if name.lower() not in VARIABLE]


def encoded(fields: Mapping[str, str]) -> Fields:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()]


@lru_cache(LIMIT)
def base_url(origin: Origin) -> str:
    """Scheme and host of absolute URLs, as Django finds them in a request of this origin."""
    scheme, host, *forwarded = (value.decode("latin-1") if isinstance(value, bytes) else value for value in origin)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "wsgi.input": BytesIO(), "wsgi.url_scheme": scheme}
    names = ("HTTP_X_FORWARDED_PROTO", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT")
    environ |= {name: value for name, value in zip(names, forwarded, strict=True) if value is not None}
    return WSGIRequest(environ | {"HTTP_HOST": host}).build_absolute_uri("/").removesuffix("/")
