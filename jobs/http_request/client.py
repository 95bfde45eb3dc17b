"""The HTTP client of http.request. Its URLs come from API users: every address, also after a redirect, is checked.

The connection goes to the address that was checked (ssrf.py), so a second DNS lookup cannot change it.
"""

import re
import socket
import ssl
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from http.client import HTTPException
from ipaddress import ip_address
from json import dumps
from threading import Timer
from time import monotonic
from typing import Final, NamedTuple
from urllib.parse import urljoin

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

from jobs.http_request.errors import Refused, Unreachable
from jobs.http_request.ssrf import check_addresses, check_port
from rest.json_value import clean_text

MAX_BODY: Final = 64 * 1024
MAX_HEADERS: Final = 64 * 1024
MAX_REDIRECTS: Final = 5
MAX_ADDRESSES: Final = 4
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
NO_BODY: Final = object()
RESOLVE_POLL: Final = 0.1
"""Seconds between two polls while a name is resolved: an asynchronous exception is delivered only between bytecodes."""

# They frame the message or name the host: a second, conflicting value makes request smuggling possible.
_RESERVED_HEADERS = (
    "connection|content-length|expect|host|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade"
)
# Credentials may be in a header of any name, so only these are sent on to another origin.
_CROSS_ORIGIN_HEADERS = ("accept", "accept-language", "content-type", "user-agent")

_Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]

OnInterruption = Callable[[Callable[[], None]], AbstractContextManager[None]]
"""jobs.run.Run.on_interruption: while in its block, an interruption calls the given function."""


@dataclass(frozen=True)
class HttpResponse:
    """Header names in lower case; the body as text, truncated to MAX_BODY bytes. No text contains NUL."""

    status: int
    headers: dict[str, str]
    body: str
    truncated: bool = False

    @property
    def location(self) -> str | None:
        return self.headers.get("location") if self.status in (301, 302, 303, 307, 308) else None


class _Target(NamedTuple):
    url: str
    scheme: str
    host: str
    port: int
    path: str


class _Request(NamedTuple):
    method: str
    target: _Target
    headers: dict[str, str]
    body: bytes | None


class _Deadline:
    """When the call ends at the latest. An interruption ends it earlier."""

    def __init__(self, seconds: float, on_interruption: OnInterruption) -> None:
        self.seconds, self.end, self.on_interruption = seconds, monotonic() + seconds, on_interruption

    def left(self) -> float:
        """Seconds left. Raises Unreachable if there are none."""
        if (left := self.end - monotonic()) <= 0:
            raise Unreachable(f"there was no complete response within {self.seconds:g} s")
        return left

    @contextmanager
    def shutting_down(self, sock: socket.socket) -> Iterator[None]:
        """A block in which the deadline and an interruption shut the socket down."""
        # A socket's own timeout restarts with each byte: a server that sends slowly would never hit it.
        timer = Timer(self.left(), _shut_down, [sock])
        timer.start()
        try:
            with self.interruptible(sock):
                yield
        finally:
            # Not joined: a pending interruption would not be delivered in join(), and a timer that fires late finds
            # the socket closed.
            timer.cancel()
        self.left()

    def interruptible(self, sock: socket.socket) -> AbstractContextManager[None]:
        return self.on_interruption(partial(_shut_down, sock))


def _shut_down(sock: socket.socket) -> None:
    with suppress(OSError):
        # Not SSLSocket.shutdown, which removes the TLS layer while another thread reads.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: object = NO_BODY,
    timeout: float,
    allowed_hosts: Collection[str] = (),
    allowed_ports: Collection[int] = (),
    on_interruption: OnInterruption = lambda shut_down: nullcontext(),
) -> HttpResponse:
    """Call the URL and follow redirects, all within `timeout` seconds. Raises Refused, Unreachable.

    allowed_hosts: hosts whose addresses and ports are not checked (ssrf.check_addresses). allowed_ports: besides 80 and
    443.
    """
    deadline = _Deadline(timeout, on_interruption)
    request = _make_request(method, _parse(url), headers or {}, json)
    for _ in range(MAX_REDIRECTS + 1):
        target = request.target
        addresses = _resolve(target, deadline)
        check_addresses(target.host, target.port, [str(sockaddr[0]) for _, sockaddr in addresses], allowed_hosts)
        check_port(target.host, target.port, allowed_hosts, allowed_ports)
        response = _send(request, addresses[:MAX_ADDRESSES], deadline)
        if not response.location:
            return response
        request = _redirected(request, response.status, response.location)
    raise Refused(f"http.request follows at most {MAX_REDIRECTS} redirects")


def check_url(url: str, allowed_hosts: Collection[str], allowed_ports: Collection[int]) -> None:
    """Raise Refused for a URL that can never be called, whatever its host resolves to."""
    target = _parse(url)
    with suppress(ValueError):  # a name
        check_addresses(target.host, target.port, [str(ip_address(target.host))], allowed_hosts)
    check_port(target.host, target.port, allowed_hosts, allowed_ports)


def check_headers(headers: Mapping[str, str]) -> None:
    """Raise Refused for a header field that cannot be sent."""
    for name, value in headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
            raise Refused(f"{name[:80]!r} is not a header name")
        if re.fullmatch(_RESERVED_HEADERS, name.lower()):
            raise Refused(f"the header {name} is set by http.request itself")
        if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value):
            raise Refused(f"the header {name[:80]} may not contain line breaks, control or non-Latin-1 characters")


def host_of(url: str) -> str:
    """The host in a URL; empty if it is not valid."""
    try:
        return (parse_url(url[:4096]).host or "").lower()
    except ValueError:
        return ""


def _parse(url: str) -> _Target:
    if re.search(r"[\x00-\x1f\x7f\\]", url):
        raise Refused("the URL may not contain control characters or backslashes")
    try:
        parsed = parse_url(url)
    except ValueError:
        raise Refused("the URL is not valid") from None
    if parsed.scheme not in ("http", "https"):
        raise Refused("the URL must begin with http:// or https://")
    if parsed.auth is not None:
        raise Refused("the URL may not contain a user name or password: send the header Authorization")
    host = (parsed.host or "").strip("[]").rstrip(".")
    if not host or "%" in host or parsed.port == 0:
        raise Refused("the host or port in the URL is not valid")
    port = parsed.port or (443 if parsed.scheme == "https" else 80)
    return _Target(parsed.url, parsed.scheme, host, port, parsed.request_uri)


def _make_request(method: str, target: _Target, headers: Mapping[str, str], json: object) -> _Request:
    if method not in METHODS:
        raise Refused(f"the method must be one of {', '.join(METHODS)}")
    check_headers(headers)
    headers = {"user-agent": "legwork"} | {name.lower(): value for name, value in headers.items()}
    if json is NO_BODY:
        return _Request(method, target, headers, None)
    return _Request(method, target, {"content-type": "application/json"} | headers, dumps(json).encode())


def _resolve(target: _Target, deadline: _Deadline) -> list[_Address]:
    # getaddrinfo has no timeout, so it runs in another thread.
    found = ThreadPoolExecutor(1).submit(socket.getaddrinfo, target.host, target.port, type=socket.SOCK_STREAM)
    while not found.done():
        wait([found], min(RESOLVE_POLL, deadline.left()))
    try:
        return [(family, sockaddr) for family, _, _, _, sockaddr in found.result()]
    except UnicodeError:
        raise Refused("the host in the URL is not a valid name") from None
    except OSError as error:
        deadline.left()
        raise Unreachable(f"{target.host} cannot be resolved: {_reason(error)}") from error


def _send(request: _Request, addresses: list[_Address], deadline: _Deadline) -> HttpResponse:
    try:
        with _connect(request.target, addresses, deadline) as sock, deadline.shutting_down(sock):
            return _exchange(sock, request, deadline.left())
    except (OSError, HTTPException, HTTPError) as error:
        deadline.left()  # after the deadline this error only says that the socket was shut down
        raise Unreachable(f"{request.target.host} cannot be reached: {_reason(error)}") from error


def _connect(target: _Target, addresses: list[_Address], deadline: _Deadline) -> socket.socket:
    """Try the addresses in turn; the first gets an equal share of the time that is left."""
    (family, sockaddr), *others = addresses
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(deadline.left() / len(addresses))
        with deadline.interruptible(sock):
            sock.connect(sockaddr)
        sock.settimeout(deadline.left())
        if target.scheme == "https":
            sock = encrypted = _wrap_tls(sock, target.host)
            with deadline.interruptible(encrypted):
                encrypted.do_handshake()
        return sock
    except BaseException as error:
        sock.close()
        if not others or not isinstance(error, OSError):
            raise
    return _connect(target, others, deadline)


def _wrap_tls(sock: socket.socket, host: str) -> ssl.SSLSocket:
    # The system's certificates, to which operators add their company's; certifi's for images that have none.
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)


def _exchange(sock: socket.socket, request: _Request, timeout: float) -> HttpResponse:
    method, target, headers, body = request
    connection_class = HTTPSConnection if target.scheme == "https" else HTTPConnection
    connection = connection_class(target.host, target.port, timeout=timeout)
    # Given our socket, it does not resolve the name again.
    connection.sock, connection.auto_open = sock, 0
    connection.request(method, target.path, body, headers, preload_content=False)
    # Also closes the connection: urllib3 keeps the socket if it refuses the response itself.
    with closing(connection), connection.getresponse() as response:
        headers = {_clean(name).lower(): _clean(response.headers[name]) for name in response.headers}
        if len(str(headers)) > MAX_HEADERS:
            raise Unreachable(f"{target.host} cannot be reached: the headers of its response are too long")
        result = HttpResponse(response.status, headers, "")
        if result.location:
            return result
        # A single read: urllib3 stops decompressing at this size, so a gzip bomb cannot fill the memory.
        raw = response.read(MAX_BODY + 1)
    return replace(result, body=_decode(raw[:MAX_BODY], headers.get("content-type", "")), truncated=len(raw) > MAX_BODY)


def _decode(raw: bytes, content_type: str) -> str:
    charset = re.search(r"charset=[\"']?([\w.:-]+)", content_type, re.IGNORECASE)
    with suppress(LookupError, ValueError):
        return _clean(raw.decode(charset[1] if charset else "utf-8", "replace"))
    return _clean(raw.decode("utf-8", "replace"))


def _clean(text: str) -> str:
    return clean_text(text, nul="\ufffd")


def _redirected(request: _Request, status: int, location: str) -> _Request:
    method, old, headers, body = request
    try:
        # http.client decodes headers as Latin-1, but servers send UTF-8.
        target = _parse(urljoin(old.url, location.encode("latin-1", "replace").decode("utf-8", "replace")))
    except ValueError:
        raise Refused(f"{old.host} redirects to a URL that is not valid") from None
    if (old.scheme, target.scheme) == ("https", "http"):
        raise Refused(f"http.request does not follow {old.host} from https to http")
    if status not in (307, 308):
        method, body = "HEAD" if method == "HEAD" else "GET", None
        headers = {name: value for name, value in headers.items() if not name.startswith("content-")}
    if (old.scheme, old.host, old.port) != (target.scheme, target.host, target.port):
        headers = {name: value for name, value in headers.items() if name in _CROSS_ORIGIN_HEADERS}
    return _Request(method, target, headers, body)


def _reason(error: Exception) -> str:
    # Never the text of an HTTP error, which quotes what the server sent.
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return f"the response is broken ({type(error).__name__})"
