"""What a gathered request says. A request that says anything else that changes an answer is left to the plain view."""

import re
from typing import NamedTuple

from a2wsgi.asgi_typing import HTTPScope
from django.conf import settings
from knox.crypto import hash_token

from project.middleware import request_id

ORIGIN = (b"host", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port")
COMMON = frozenset({*ORIGIN, b"authorization", b"x-request-id"})
LEFT = frozenset({b"cookie", b"prefer", b"range", b"if-match", b"if-modified-since", b"if-unmodified-since"}) | (
    {b"traceparent", b"tracestate", b"baggage"} if settings.TRACING else frozenset()
)
"""Header fields that change the plain view's answer, or may one day, and are not understood here."""
LEFT_OF_GET = LEFT | {b"transfer-encoding"}
LEFT_OF_POST = LEFT | {b"if-none-match"}
GET_FIELDS = COMMON | LEFT_OF_GET | {b"if-none-match", b"content-length"}
POST_FIELDS = COMMON | LEFT_OF_POST | {b"content-type", b"idempotency-key"}
"""All header fields that matter: tests/project/gathering/test_requests.py records what the plain views read. Any other
field, of which clients and proxies send many, is ignored."""
TOKEN = re.compile(rb"[Tt]oken +([A-Za-z0-9]{1,200})")
OUR_ETAG = re.compile(rb'(?:W/)?"([0-9a-f]{1,16})"')
"""One that RowDigest may have made."""
ANY_ETAG = re.compile(rb'(?:W/)?"[!#-~]*"')
JSON = re.compile(rb'application/json(?:[ \t]*;[ \t]*charset="?utf-8"?)?', re.IGNORECASE)

Origin = tuple[str | bytes | None, ...]
"""Everything in a request that decides its scheme and host, and so the URLs in the answer."""
Fields = dict[bytes, bytes]


class Asked(NamedTuple):
    """digest: of the token. known: the ETag that the client has, without quotes. request_id: the client's or ours.

    key: the Idempotency-Key as it was sent, None without one.
    """

    digest: str
    known: str
    origin: Origin
    request_id: str
    key: str | None = None


def understand_get(scope: HTTPScope) -> Asked | None:
    """What a request with a token says. None: only the plain view understands it completely."""
    fields = _fields(scope, GET_FIELDS, LEFT_OF_GET)
    if fields is None or fields.get(b"content-length", b"0") != b"0":
        return None
    condition = fields.get(b"if-none-match", b'""')
    known = OUR_ETAG.fullmatch(condition)
    if known is None and not ANY_ETAG.fullmatch(condition):
        return None
    return _asked(scope, fields, known=known[1].decode() if known else "")


def understand_post(scope: HTTPScope) -> Asked | None:
    """As understand_get(), for a request with a body."""
    fields = _fields(scope, POST_FIELDS, LEFT_OF_POST)
    if fields is None or not JSON.fullmatch(fields.get(b"content-type", b"")):
        return None
    key = fields.get(b"idempotency-key")
    return _asked(scope, fields, key=None if key is None else key.decode("latin-1"))


def _fields(scope: HTTPScope, matter: frozenset[bytes], left: frozenset[bytes]) -> Fields | None:
    """Those that matter; None if one comes twice, or is left to the plain view."""
    found = [field for field in scope["headers"] if field[0] in matter]
    fields = dict(found)
    is_usual = len(fields) == len(found) and left.isdisjoint(fields) and b"host" in fields
    return fields if is_usual and not scope["query_string"] and not scope.get("root_path") else None


def _asked(scope: HTTPScope, fields: Fields, *, known: str = "", key: str | None = None) -> Asked | None:
    token = TOKEN.fullmatch(fields.get(b"authorization", b""))
    if token is None:
        return None
    return Asked(
        digest=hash_token(token[1].decode()),
        known=known,
        origin=(scope["scheme"], *map(fields.get, ORIGIN)),
        request_id=request_id(fields.get(b"x-request-id", b"").decode("latin-1")),
        key=key,
    )
