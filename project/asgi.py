"""The ASGI application: reads request bodies on the event loop, then runs Django on a fixed pool of threads.

Each thread keeps its database connection; with Django's own ASGI handler every request would open one.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, TypeVar, cast
from urllib.parse import quote

import structlog
from a2wsgi.asgi_typing import HTTPScope, Receive, Scope, Send, SendEvent
from a2wsgi.wsgi_typing import WSGIApp
from django.conf import settings

# First of our modules: it sets Django up, which the others need.
from project.wsgi import application as django_application

# isort: split
from mail.webhooks.counts import webhook_counts
from project import health
from project.api import docs
from project.gathering import dispatch as gathering
from project.login.ended_logins import watches_end_with_their_logins
from project.login.large_bodies import is_known
from project.login.last_used import last_used
from project.middleware import log_access, logged_client, logged_path, request_id
from project.server.fair_pool import FairPool
from project.server.http_protocol import PEER_KEY, harden
from rest import problems, security_headers
from rest.requests.body import (
    BodyBudget,
    BodyTooLarge,
    ClientDisconnected,
    CredentialsRequired,
    OutOfBudget,
    has_body,
    read_body,
    replay,
)
from rest.security_headers import with_security_headers
from rest.throttling import address_in, count, network_of
from rest.watch.responder import respond
from rest.watch.shutdown import end_watches_at_shutdown

logger = structlog.get_logger(__name__)

Result = TypeVar("Result")
Headers = Iterable[tuple[bytes, bytes]]

POOL_SECONDS = 3.0
"""If no thread becomes free for so long, /readyz reports the pool as exhausted."""

SEND_QUEUE = 256
"""Chunks of a response that are queued for a slow client instead of blocking a thread: 2 MiB of a static file."""
CHUNK_SECONDS = 30.0
"""Within which a client must read a chunk of a long response, as a thread may wait for it. Streams: rest/watch."""

COUNT_SECONDS = 1.0
"""Within which a refused request is counted."""

body_budget = BodyBudget()
SECURITY_HEADERS = security_headers.FIELDS + security_headers.hsts(
    settings.SECURE_HSTS_SECONDS, preload=settings.SECURE_HSTS_PRELOAD
)
harden()
pool = FairPool(cast(WSGIApp, django_application), workers=settings.WEB_THREADS, send_queue_size=SEND_QUEUE)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        end_watches_at_shutdown()
        docs.build()
        with last_used.written(), webhook_counts.written(), watches_end_with_their_logins():
            return await pool(scope, receive, send)
    if scope["type"] != "http":
        # a2wsgi answers lifespan messages and closes websockets.
        return await pool(scope, receive, send)
    started, stuck = False, False

    async def note_start(message: SendEvent) -> None:
        nonlocal started, stuck
        if message["type"] == "http.response.start":
            message["headers"] = with_security_headers(message["headers"], SECURITY_HEADERS)
            if message["status"] == HTTPStatus.NOT_MODIFIED:
                # It may only be the length that the 200 would have (RFC 9110, 8.6); Django counts the empty body.
                message["headers"] = [field for field in message["headers"] if field[0].lower() != b"content-length"]
        started = True
        if stuck or not message.get("more_body"):
            return None if stuck else await send(message)
        try:
            async with asyncio.timeout(CHUNK_SECONDS):
                await send(message)
        except TimeoutError:
            stuck = True  # no final chunk is sent, so the server cuts the connection; the thread runs to its end
            logger.info("reader_dropped", path=logged_path(scope["path"]))

    try:
        if settings.LOOPBACK_ONLY and not _is_local(scope):
            return await _refuse(scope, note_start, 403, "Development serves this machine only.", code="not_local")
        if scope["http_version"] == "1.1" and [name for name, _ in scope["headers"]].count(b"host") != 1:
            # RFC 9112, 3.2.
            return await _refuse(scope, note_start, 400, "A request needs one Host header field.", code="host")
        await gathering.serve(_sanitised(scope), receive, note_start, _serve)
    except Exception:
        logger.exception("request_failed")
        if started:
            raise
        await _refuse(scope, note_start, 500, "Internal error; it has been logged.")


async def _serve(scope: HTTPScope, receive: Receive, send: Send) -> None:
    if scope["method"] in ("GET", "HEAD") and scope["path"] in ("/healthz", "/readyz"):
        return await _health(scope, send)
    if not has_body(scope):
        return await respond(pool, scope, receive, send)
    # A request that waits for changes gives its share back first.
    with body_budget.share() as share:
        try:
            await read_body(scope, receive, share, lambda: _on_pool(is_known, scope["headers"]))
        except BodyTooLarge:
            return await _refuse(scope, send, 413, "The body is too large.")
        except CredentialsRequired:
            detail = f"A body over {settings.ANONYMOUS_BODY_LIMIT} bytes needs valid credentials."
            challenge = [(b"www-authenticate", b"Token")]
            return await _refuse(scope, send, 401, detail, challenge, code="not_authenticated")
        except OutOfBudget:
            detail = "This server cannot hold another request body right now; try again."
            return await _refuse(scope, send, 503, detail, [(b"retry-after", b"1")], code="overloaded")
        except TimeoutError:
            return await _refuse(scope, send, 408, "The body took too long to arrive.", [(b"connection", b"close")])
        except ClientDisconnected:
            return None
        plain = partial(respond, pool, before_waiting=share.give_back)
        return await gathering.serve(_with_length(scope, share.size), replay(share, receive), send, plain, share)


async def _on_pool(function: Callable[..., Result], *arguments: object) -> Result:
    """The function's result, from a thread of the pool, which has a database connection."""
    return await asyncio.get_running_loop().run_in_executor(pool.executor, function, *arguments)


def _is_local(scope: HTTPScope) -> bool:
    """Whether the connection came to a loopback address of this machine, or to a Unix socket."""
    host = (scope.get("server") or ("", 0))[0]
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return True


def _sanitised(scope: HTTPScope) -> HTTPScope:
    """Removes what would mislead a WSGI application.

    - Headers with underscores: X_Forwarded_For would become the same variable as the proxy's X-Forwarded-For.
    - A client address from X-Forwarded-For, which uvicorn trusts if the peer is local: only NUM_PROXIES decides here.
    - Non-ASCII characters in the query, which a2wsgi does not expect.
    """
    headers = [(name, value) for name, value in scope["headers"] if b"_" not in name]
    query = scope["query_string"]
    ascii_query = query if query.isascii() else quote(query, safe=bytes(range(128))).encode()
    sanitised: HTTPScope = {**scope, "headers": headers, "query_string": ascii_query}
    if not settings.NUM_PROXIES and PEER_KEY in scope:
        sanitised["client"] = cast("dict[str, Any]", scope)[PEER_KEY]
    return sanitised


def _with_length(scope: HTTPScope, length: int) -> HTTPScope:
    """WSGI needs a Content-Length; a chunked body has been read completely by now."""
    headers = [(n, v) for n, v in scope["headers"] if n not in (b"transfer-encoding", b"content-length")]
    return {**scope, "headers": [*headers, (b"content-length", str(length).encode())]}


async def _health(scope: HTTPScope, send: Send) -> None:
    """Not on the thread pool, so that a process whose threads are all busy still reports that it lives."""
    if scope["path"] == "/healthz":
        await _respond(scope, send, 200, b"application/json", health.ALIVE)
        return
    threads = await _pool_state()
    status, body = await asyncio.to_thread(health.readiness, threads=threads)
    await _respond(scope, send, status, b"application/json", body)


async def _pool_state() -> str:
    loop = asyncio.get_running_loop()
    try:
        await asyncio.wait_for(loop.run_in_executor(pool.executor, time.monotonic), POOL_SECONDS)
    except TimeoutError:
        return "exhausted"
    return "ok"


async def _refuse(
    scope: HTTPScope, send: Send, status: int, detail: str, headers: Headers = (), code: str = ""
) -> None:
    started = time.perf_counter()
    body = problems.document(status, detail, scope["path"], code=code)
    headers = [*headers, *await _rate_limit(scope)]
    this_id = await _respond(scope, send, status, problems.MEDIA_TYPE.encode(), body, headers)
    more = {"request_id": this_id, "client": logged_client(address_in(scope))}
    log_access(scope["method"], scope["path"], status, started, **more)


async def _rate_limit(scope: HTTPScope) -> Headers:
    """The header fields of a refused request to the API, which counts as one of its network's. None if it cannot be
    counted now: the refusal is sent anyway."""
    if not scope["path"].startswith("/api/"):
        return []
    subject = f"address:{network_of(address_in(scope))}"
    try:
        allowance = await asyncio.wait_for(_on_pool(count, subject), COUNT_SECONDS)
    except Exception:
        return []
    return [(name.lower().encode(), value.encode()) for name, value in allowance.headers().items()]


async def _respond(
    scope: HTTPScope, send: Send, status: int, content_type: bytes, body: bytes, headers: Headers = ()
) -> str:
    """Returns the id of the request, which the response has."""
    this_id = request_id(dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1"))
    fields = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"x-request-id", this_id.encode()),
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body, "more_body": False})
    return this_id
