"""Bounds what uvicorn's HTTP parser accepts, however uvicorn is started: the size of a head, and its time to arrive.

By itself uvicorn collects an unfinished head without any bound, takes trailer fields for header fields, answers what is
malformed in plain text, and names itself in every response. Its settings for these exist only for its slower parser, or
not at all.
"""

from functools import wraps
from typing import Any

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rest import problems
from rest.security_headers import FIELDS

MAX_HEAD = 64 * 1024
"""Bytes of a request line and its header fields, besides the read in which they begin (at most 256 KiB). The same bound
holds for what arrives between or after the chunks of a body."""
HEAD_SECONDS = 20.0
"""From the start of a connection or request to the end of its head."""
PEER_KEY = "legwork.peer"
"""The key of an ASGI scope under which it has the address of the connection's other end."""
LINES = {400: b"HTTP/1.1 400 Bad Request", 408: b"HTTP/1.1 408 Request Timeout", 431: b"HTTP/1.1 431 "}


def harden(protocol: Any = HttpToolsProtocol) -> None:
    """Change the class, which uvicorn has chosen before it imports the application."""
    if getattr(protocol, "is_hardened", False):
        return
    protocol.is_hardened = True
    _keep_peers()
    made, received, lost = protocol.connection_made, protocol.data_received, protocol.connection_lost
    begun, header, complete = protocol.on_message_begin, protocol.on_header, protocol.on_headers_complete
    body, message_complete = protocol.on_body, protocol.on_message_complete

    @wraps(made)
    def connection_made(self: Any, transport: Any) -> None:
        self.config.encoded_headers = _without_server(self.config.encoded_headers)
        self.server_state.default_headers = _without_server(self.server_state.default_headers)
        self.head_timer, self.head_begun = None, False
        _count_anew(self)
        made(self, transport)
        _start_timer(self)

    @wraps(received)
    def data_received(self: Any, data: bytes) -> None:
        self.counts_anew = False
        received(self, data)
        # The read in which the counting begins does not count: most of it may belong to what was before.
        self.field_bytes += 0 if self.counts_anew else len(data)
        if self.head_begun:
            _start_timer(self)
        if self.field_bytes > MAX_HEAD and not self.transport.is_closing():
            _refuse(self, 431, "The request line and the header fields are too long.")

    @wraps(begun)
    def on_message_begin(self: Any) -> None:
        self.head_begun = True
        _count_anew(self)
        begun(self)

    @wraps(header)
    def on_header(self: Any, name: bytes, value: bytes) -> None:
        # Trailer fields come after the head. uvicorn would append them to the header fields, where they could replace
        # what a proxy has set.
        if self.head_begun:
            header(self, name, value)

    @wraps(complete)
    def on_headers_complete(self: Any) -> None:
        self.head_begun = False
        _count_anew(self)
        _stop_timer(self)
        complete(self)

    @wraps(body)
    def on_body(self: Any, data: bytes) -> None:
        _count_anew(self)
        body(self, data)

    @wraps(message_complete)
    def on_message_complete(self: Any) -> None:
        message_complete(self)
        _count_anew(self)

    @wraps(lost)
    def connection_lost(self: Any, error: Exception | None) -> None:
        _stop_timer(self)
        lost(self, error)

    @wraps(protocol.send_400_response)
    def send_400_response(self: Any, message: str) -> None:
        _refuse(self, 400, "This is not a valid HTTP request.")

    parsing = (on_message_begin, on_header, on_headers_complete, on_body, on_message_complete)
    for function in (connection_made, data_received, connection_lost, send_400_response, *parsing):
        setattr(protocol, function.__name__, function)


def _keep_peers() -> None:
    """uvicorn's middleware replaces the address of a local peer by what X-Forwarded-For says."""
    replace = ProxyHeadersMiddleware.__call__

    @wraps(replace)
    async def keep_and_replace(self: Any, scope: Any, receive: Any, send: Any) -> None:
        scope[PEER_KEY] = scope.get("client")
        await replace(self, scope, receive, send)

    setattr(ProxyHeadersMiddleware, "__call__", keep_and_replace)  # noqa: B010 mypy refuses an assignment


def _without_server(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    return [field for field in headers if field[0].lower() != b"server"]


def _count_anew(protocol: Any) -> None:
    """field_bytes: received since the connection, a head or the latest piece of a body began."""
    protocol.field_bytes, protocol.counts_anew = 0, True


def _start_timer(protocol: Any) -> None:
    if protocol.head_timer is None:
        protocol.head_timer = protocol.loop.call_later(HEAD_SECONDS, _head_is_late, protocol)


def _stop_timer(protocol: Any) -> None:
    if protocol.head_timer is not None:
        protocol.head_timer.cancel()
        protocol.head_timer = None


def _head_is_late(protocol: Any) -> None:
    """Refuse an unfinished head, or close a connection that never began one. Between requests uvicorn has a timeout."""
    protocol.head_timer = None
    if protocol.head_begun and not protocol.transport.is_closing():
        _refuse(protocol, 408, "The header fields took too long to arrive.")
    elif protocol.cycle is None and not protocol.transport.is_closing():
        protocol.transport.close()


def _refuse(protocol: Any, status: int, detail: str) -> None:
    """Answer and close the connection; only close it in the middle of another response."""
    if protocol.cycle and protocol.cycle.response_started and not protocol.cycle.response_complete:
        protocol.transport.close()
        return
    body = problems.document(status, detail, "")
    fields = [
        (b"content-type", problems.MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
        *FIELDS,
    ]
    head = b"\r\n".join([LINES[status], *(name + b": " + value for name, value in fields)])
    protocol.transport.write(head + b"\r\n\r\n" + body)
    protocol.transport.close()
