"""The process: an ASGI application on one port, served by uvicorn until SIGTERM or Ctrl-C.

Unlike a web framework it can leave a request unanswered, cut a response short, and close the port for a while.
"""

import asyncio
import contextlib
import logging
import re
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from urllib.parse import parse_qs

import uvicorn
from asgiref.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mail.simulator.http import Reply, Request, RequestError, Response, Route, as_message

logger = logging.getLogger(__name__)

BODY_LIMIT = 25 * 1024 * 1024 + 64 * 1024
"""Bytes: Mailgun's limit for a message, and some room for the form around it."""
BACKLOG = 2048
KEEP_ALIVE = 75


class ClientDisconnectedError(Exception):
    """The client closed the connection before its request was complete."""


class App:
    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = [(route, _compile(route.path)) for route in routes]

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            return
        try:
            body = await _read_body(receive)
        except ClientDisconnectedError:
            return
        if body is None:
            reply: Reply = as_message("Message is too large", 413)
        else:
            reply = await self._reply(_request(scope, body))
        if isinstance(reply, Response):
            await _send(scope, reply, send)
        else:
            await _wait_for_disconnect(receive, reply.seconds)
            _close_connection(scope)

    async def _reply(self, request: Request) -> Reply:
        try:
            return await self._route(request)
        except RequestError as error:
            return as_message(error.message, error.status)
        except Exception:
            logger.exception("The simulator failed at %s %s", request.method, request.path)
            return as_message("Internal Server Error", 500)

    async def _route(self, request: Request) -> Reply:
        method = "GET" if request.method == "HEAD" else request.method
        if method != "GET" and request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise RequestError(403, "Pages of other sites may not change anything here.")
        path_exists = False
        for route, match in self._routes:
            if found := match(request.path):
                path_exists = True
                if route.method == method:
                    return await route.handler(request, **found.groupdict())
        raise RequestError(405, "Method not allowed") if path_exists else RequestError(404, "Not Found")


def _compile(path: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(path))).fullmatch


def _request(scope: HTTPScope, body: bytes) -> Request:
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


async def _read_body(receive: ASGIReceiveCallable) -> bytes | None:
    """None if it is too long. It is read to its end all the same: clients do not read the response before."""
    chunks: list[bytes] = []
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientDisconnectedError
        length += len(message["body"])
        more = message["more_body"]
        if length > BODY_LIMIT:
            chunks.clear()
        else:
            chunks.append(message["body"])
    return b"".join(chunks) if length <= BODY_LIMIT else None


async def _send(scope: HTTPScope, response: Response, send: ASGISendCallable) -> None:
    given = {"content-type": response.content_type, "content-length": str(len(response.body)), **response.headers}
    headers = [(name.lower().encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": response.status, "headers": headers, "trailers": False})
    cut = response.cut is not None
    await send({"type": "http.response.body", "body": response.body[: response.cut], "more_body": cut})
    if cut:
        _close_connection(scope)


async def _wait_for_disconnect(receive: ASGIReceiveCallable, seconds: float) -> None:
    """Until the client has closed the connection, at most so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while (await receive())["type"] != "http.disconnect":
                pass


def _close_connection(scope: HTTPScope) -> None:
    transport: asyncio.Transport = scope["state"]["transport"]
    transport.close()


class Protocol(HttpToolsProtocol):
    """Gives the application access to the connection, so that a fault can close it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"]["transport"] = self.transport


class Server(uvicorn.Server):
    """Calls `on_listening` with its URL as soon as it listens. Raises OSError if the port is taken."""

    def __init__(self, host: str, port: int, on_listening: Callable[[str], None]) -> None:
        self._on_listening = on_listening
        self._socket = _bind(host, port)
        self._address = self._socket.getsockname()[:2]
        self._reopening: asyncio.Task[None] | None = None
        # A fault ends a request without a response, which uvicorn would log as an error.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)

    def serve_until_stopped(self, app: App) -> None:
        options = {"ws": "none", "lifespan": "off", "log_config": None, "access_log": False}
        bounds = {"backlog": BACKLOG, "timeout_keep_alive": KEEP_ALIVE, "timeout_graceful_shutdown": 1}
        super().__init__(uvicorn.Config(app, http=Protocol, **options, **bounds))  # type: ignore[arg-type]
        self.run([self._socket])

    def close_port(self, seconds: float) -> None:
        """Close the port and every connection, and listen again after so many seconds."""
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for connection in list(self.server_state.connections):
            # On the next turn of the loop, after the response to the request that asked for this.
            loop.call_soon(connection.transport.close)
        if self._reopening:
            self._reopening.cancel()
        self._reopening = loop.create_task(self._reopen(seconds))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        host, port = self._address
        self._on_listening(f"http://{f'[{host}]' if ':' in host else host}:{port}")

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own version ends the process by the signal; this one lets it exit with code 0."""
        for sign in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sign, self._stop)
        yield

    def _stop(self) -> None:
        self.force_exit = self.should_exit  # on the second signal
        self.should_exit = True

    async def _reopen(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await super().startup([_bind(*self._address)])


def _bind(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.setblocking(False)
    except OSError:
        bound.close()
        raise
    return bound
