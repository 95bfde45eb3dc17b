"""What a gathered request consists of. A request with anything else in it is left to the plain view."""

import re
from typing import NamedTuple

from a2wsgi.asgi_typing import HTTPScope
from django.conf import settings
from knox.crypto import hash_token

from project.middleware import request_id

FIELDS = frozenset(
    {
        *(b"accept", b"accept-encoding", b"accept-language", b"authorization", b"cache-control", b"connection"),
        *(b"host", b"if-none-match", b"pragma", b"priority", b"user-agent", b"x-forwarded-for", b"x-forwarded-host"),
        *(b"x-forwarded-port", b"x-forwarded-proto", b"x-real-ip", b"x-request-id"),
        *(() if settings.TRACING else (b"traceparent", b"tracestate")),
    }
)
"""Header fields whose effect on an answer is known here; most have none. A request with any other one is left to the
plain view: Cookie (sessions), Prefer, Range, other conditions, and whatever else there is or will be."""
FIELDS_WITH_BODY = FIELDS - {b"if-none-match"} | {b"content-length", b"content-type"}
ORIGIN = (b"host", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port")
TOKEN = re.compile(rb"[Tt]oken +([A-Za-z0-9]{1,200})")
OUR_ETAG = re.compile(rb'(?:W/)?"([0-9a-f]{1,16})"')
"""One that RowDigest may have made."""
ANY_ETAG = re.compile(rb'(?:W/)?"[!#-~]*"')

Origin = tuple[str | bytes | None, ...]
"""Everything in a request that decides its scheme and host, and so the URLs in the answer."""


class Asked(NamedTuple):
    """digest: of the token. known: the ETag that the client has, without quotes. request_id: the client's or ours."""

    digest: str
    known: str
    origin: Origin
    request_id: str


def understand(scope: HTTPScope, understood: frozenset[bytes]) -> Asked | None:
    """What a request with a token says. None: only the plain view understands it completely."""
    headers = list(scope["headers"])
    fields = dict(headers)
    if len(fields) < len(headers) or not fields.keys() <= understood or b"host" not in fields:
        return None
    token = TOKEN.fullmatch(fields.get(b"authorization", b""))
    if token is None or scope["query_string"] or scope.get("root_path"):
        return None
    if b"content-type" in understood and fields.get(b"content-type") != b"application/json":
        return None
    condition = fields.get(b"if-none-match", b'""')
    known = OUR_ETAG.fullmatch(condition)
    if known is None and not ANY_ETAG.fullmatch(condition):
        return None
    return Asked(
        digest=hash_token(token[1].decode()),
        known=known[1].decode() if known else "",
        origin=(scope["scheme"], *map(fields.get, ORIGIN)),
        request_id=request_id(fields.get(b"x-request-id", b"").decode("latin-1")),
    )
