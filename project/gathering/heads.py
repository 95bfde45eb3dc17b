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
ByStatus = dict[int, Fields]

VARIABLE = frozenset({b"content-length", b"etag", b"location", b"ratelimit", b"ratelimit-policy", b"retry-after"}) | {
    b"x-request-id"
}
"""Fields that differ from answer to answer. All others depend on the origin, the call and the status alone."""
NEVER_SHARED = frozenset({b"set-cookie", b"idempotency-replayed"})
LIMIT = 256
"""Origins and calls that are kept. Clients choose the Host, within ALLOWED_HOSTS, and X-Forwarded-*."""


class Heads(Generic[Call]):
    """The header fields that the middlewares and the plain view send, learnt from one answer of theirs for each call,
    origin and status. An origin whose requests they refuse or redirect is never learnt."""

    def __init__(self) -> None:
        self._learnt: dict[tuple[Call, Origin], ByStatus] = {}

    def of(self, call: Call, origin: Origin) -> ByStatus:
        """What was learnt. A caller that holds it keeps all of it, whatever is dropped from the cache meanwhile."""
        return self._learnt.get((call, origin), {})

    def learn_from(self, send: Send, call: Call, origin: Origin, statuses: Collection[int]) -> Send:
        """A send() that learns, if the status is one of these."""

        async def learning(message: SendEvent) -> None:
            if message["type"] == "http.response.start" and message["status"] in statuses:
                self._learn((call, origin), message["status"], list(message["headers"]))
            await send(message)

        return learning

    def _learn(self, key: tuple[Call, Origin], status: int, fields: Fields) -> None:
        names = {name.lower() for name, _ in fields}
        if names & NEVER_SHARED:
            return
        if key not in self._learnt and len(self._learnt) >= LIMIT:
            # The oldest. If new ones were refused, a client with many origins could keep others from being learnt.
            del self._learnt[next(iter(self._learnt))]
        kept = [(name.lower(), value) for name, value in fields if name.lower() not in VARIABLE]
        self._learnt.setdefault(key, {})[status] = kept


def fields_for(learnt: ByStatus, status: int, similar: int) -> Fields:
    """Those of this status; else those of the status `similar`, without what describes its body."""
    if (found := learnt.get(status)) is not None:
        return found
    return [(name, value) for name, value in learnt[similar] if name != b"content-type"]


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
