"""
The HTTP call behind the kind http.request. Its URL comes from an API user, so every address that a name stands
for is checked, after redirects too, and the connection goes to the very address that was checked.
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
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from json import dumps
from threading import Timer
from time import monotonic
from typing import Final, NamedTuple
from urllib.parse import urljoin

import certifi
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

MAX_BODY: Final = 64 * 1024
MAX_HEADERS: Final = 64 * 1024
MAX_REDIRECTS: Final = 5
MAX_ADDRESSES: Final = 4
METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
NO_BODY: Final = object()
LOOK_EVERY: Final = 0.1
"""Seconds without a line of Python, in which alone a thread meets an interruption, while a name is looked up."""

# These frame the message or name its receiver: a second opinion on them is how requests are smuggled.
_OURS = "connection|content-length|expect|host|keep-alive|proxy-connection|te|trailer|transfer-encoding|upgrade"
# An API key may travel in a header of any name, so only these go on to another origin.
_HARMLESS = ("accept", "accept-language", "content-type", "user-agent")
# IANA's special-purpose registries (RFC 6890), written out: what `is_global` says differs between Python releases.
_CLOSED = {
    kind: [ip_network(network) for network in networks.split()]
    for kind, networks in {
        "unspecified": "0.0.0.0/8 ::/128",
        "loopback": "127.0.0.0/8 ::1/128",
        "link-local": "169.254.0.0/16 fe80::/10",
        "private": "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10",
        "shared": "100.64.0.0/10",
        "multicast": "224.0.0.0/4 ff00::/8",
        "tunnelled": "192.88.99.0/24 2001::/32 2002::/16",
        "documentation": "192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
        # With all that is not 2000::/3, and Azure's service for its own machines in the middle of public space.
        "reserved": "192.0.0.0/24 198.18.0.0/15 240.0.0.0/4 168.63.129.16 2001::/23 ::/3 4000::/2 8000::/1",
    }.items()
}
_EMBEDDING = (ip_network("::ffff:0:0/96"), ip_network("64:ff9b::/96"))

_Address = tuple[socket.AddressFamily, tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]]

OnInterruption = Callable[[Callable[[], None]], AbstractContextManager[None]]
"""jobs.run.Run.on_interruption: in its block, an interruption calls the function that it was given."""


class Refused(Exception):
    """http.request never makes this call; repeating it changes nothing."""


class Unreachable(Exception):
    """There was no whole answer this time; a later attempt may get one."""


@dataclass(frozen=True)
class Answer:
    """Header names are in lower case; the body is text, `cut` after MAX_BODY bytes; nothing holds a NUL."""

    status: int
    headers: dict[str, str]
    body: str
    cut: bool = False

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
    """The end of a call, which an interruption may bring sooner."""

    def __init__(self, seconds: float, on_interruption: OnInterruption) -> None:
        self.seconds, self.end, self.on_interruption = seconds, monotonic() + seconds, on_interruption

    def left(self) -> float:
        if (left := self.end - monotonic()) <= 0:
            raise Unreachable(f"there was no whole answer within {self.seconds:g} s")
        return left

    @contextmanager
    def cutting(self, sock: socket.socket) -> Iterator[None]:
        # A socket's own time-out begins anew with each byte: a server that drips would never run into it.
        timer = Timer(self.left(), _shut_down, [sock])
        timer.start()
        try:
            with self.interruptible(sock):
                yield
        finally:
            # It is not waited for: an interruption that is on its way is not met there, and a timer that rings a moment
            # too late finds the socket closed.
            timer.cancel()
        self.left()

    def interruptible(self, sock: socket.socket) -> AbstractContextManager[None]:
        return self.on_interruption(partial(_shut_down, sock))


def _shut_down(sock: socket.socket) -> None:
    with suppress(OSError):
        # Not SSLSocket.shutdown, which takes the TLS layer away from under the thread that reads.
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    json: object = NO_BODY,
    timeout: float,
    allowed_hosts: Collection[str] = (),
    on_interruption: OnInterruption = lambda shut_down: nullcontext(),
) -> Answer:
    """
    Call `url` and follow its redirects, all within `timeout` seconds. `allowed_hosts` may be called wherever they
    are: `intra.example`, `10.0.0.5:8080`, `::1`, `[::1]:8080`; without a port, on any. Raises Refused, Unreachable.
    """
    deadline = _Deadline(timeout, on_interruption)
    request = _request(method, _target(url), headers or {}, json)
    for _ in range(MAX_REDIRECTS + 1):
        addresses = _resolved(request.target, deadline)
        _check(request.target, addresses, allowed_hosts)
        answer = _exchange(request, addresses[:MAX_ADDRESSES], deadline)
        if not answer.location:
            return answer
        request = _redirected(request, answer.status, answer.location)
    raise Refused(f"http.request follows at most {MAX_REDIRECTS} redirects")


def _target(url: str) -> _Target:
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


def _request(method: str, target: _Target, headers: Mapping[str, str], json: object) -> _Request:
    if method not in METHODS:
        raise Refused(f"the method must be one of {', '.join(METHODS)}")
    for name, value in headers.items():
        _check_header(name, value)
    headers = {"user-agent": "legwork"} | {name.lower(): value for name, value in headers.items()}
    if json is NO_BODY:
        return _Request(method, target, headers, None)
    return _Request(method, target, {"content-type": "application/json"} | headers, dumps(json).encode())


def _check_header(name: str, value: str) -> None:
    if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name):
        raise Refused(f"{name[:80]!r} is not a header name")
    if re.fullmatch(_OURS, name.lower()):
        raise Refused(f"the header {name} is set by http.request itself")
    if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value):
        raise Refused(f"the header {name[:80]} may not contain line breaks, control or non-Latin-1 characters")


def _resolved(target: _Target, deadline: _Deadline) -> list[_Address]:
    # getaddrinfo takes no time-out, so it is waited for from outside.
    found = ThreadPoolExecutor(1).submit(socket.getaddrinfo, target.host, target.port, type=socket.SOCK_STREAM)
    while not found.done():
        wait([found], min(LOOK_EVERY, deadline.left()))
    try:
        return [(family, sockaddr) for family, _, _, _, sockaddr in found.result()]
    except UnicodeError:
        raise Refused("the host in the URL is not a valid name") from None
    except OSError as error:
        deadline.left()
        raise Unreachable(f"{target.host} cannot be resolved: {_reason(error)}") from error


def _check(target: _Target, addresses: list[_Address], allowed_hosts: Collection[str]) -> None:
    host = f"[{target.host}]" if ":" in target.host else target.host
    if not {target.host, host, f"{host}:{target.port}"}.isdisjoint(map(str.lower, allowed_hosts)):
        return
    for _, sockaddr in addresses:
        # The kind, not the address: what a name means inside is no business of an API user.
        if kind := objection(str(sockaddr[0])):
            raise Refused(f"http.request may not call {target.host}: its address is {kind}")


def objection(address: str) -> str | None:
    """Say of what kind an address is that may not be called; None of a public unicast address."""
    ip: IPv4Address | IPv6Address = ip_address(address)
    if any(ip in network for network in _EMBEDDING):
        ip = IPv4Address(int(ip) & 0xFFFFFFFF)
    return next((kind for kind, networks in _CLOSED.items() if any(ip in network for network in networks)), None)


def _exchange(request: _Request, addresses: list[_Address], deadline: _Deadline) -> Answer:
    try:
        with _connected(request.target, addresses, deadline) as sock, deadline.cutting(sock):
            return _ask(sock, request, deadline.left())
    except (OSError, HTTPException, HTTPError) as error:
        # What was cut at the deadline looks broken.
        deadline.left()
        raise Unreachable(f"{request.target.host} cannot be reached: {_reason(error)}") from error


def _connected(target: _Target, addresses: list[_Address], deadline: _Deadline) -> socket.socket:
    (family, sockaddr), *others = addresses
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.settimeout(deadline.left() / len(addresses))
        with deadline.interruptible(sock):
            sock.connect(sockaddr)
        sock.settimeout(deadline.left())
        if target.scheme == "https":
            sock = encrypted = _encrypted(sock, target.host)
            with deadline.interruptible(encrypted):
                encrypted.do_handshake()
        return sock
    except BaseException as error:
        sock.close()
        if not others or not isinstance(error, OSError):
            raise
    return _connected(target, others, deadline)


def _encrypted(sock: socket.socket, host: str) -> ssl.SSLSocket:
    # The system's certificates, where an operator adds a company's own; certifi's for images that have none.
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)


def _ask(sock: socket.socket, request: _Request, timeout: float) -> Answer:
    method, target, headers, body = request
    kind = HTTPSConnection if target.scheme == "https" else HTTPConnection
    connection = kind(target.host, target.port, timeout=timeout)
    # Without a socket of its own it would look the name up again.
    connection.sock, connection.auto_open = sock, 0
    connection.request(method, target.path, body, headers, preload_content=False)
    # Closed here as well, or an answer refused by urllib3 itself would keep the socket.
    with closing(connection), connection.getresponse() as response:
        headers = {_storable(name).lower(): _storable(response.headers[name]) for name in response.headers}
        if len(str(headers)) > MAX_HEADERS:
            raise Unreachable(f"{target.host} cannot be reached: the headers of its answer are too long")
        answer = Answer(response.status, headers, "")
        if answer.location:
            return answer
        # In one read: urllib3 then stops unpacking at this size, in a gzip bomb too.
        raw = response.read(MAX_BODY + 1)
    return replace(answer, body=_text(raw[:MAX_BODY], headers.get("content-type", "")), cut=len(raw) > MAX_BODY)


def _text(raw: bytes, content_type: str) -> str:
    charset = re.search(r"charset=[\"']?([\w.:-]+)", content_type, re.IGNORECASE)
    with suppress(LookupError, ValueError):
        return _storable(raw.decode(charset[1] if charset else "utf-8", "replace"))
    return _storable(raw.decode("utf-8", "replace"))


def _storable(text: str) -> str:
    # PostgreSQL's JSON takes neither NUL nor half of a surrogate pair.
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _redirected(request: _Request, status: int, location: str) -> _Request:
    method, old, headers, body = request
    try:
        # http.client reads headers as Latin-1, while servers write UTF-8.
        target = _target(urljoin(old.url, location.encode("latin-1", "replace").decode("utf-8", "replace")))
    except ValueError:
        raise Refused(f"{old.host} redirects to a URL that is not valid") from None
    if (old.scheme, target.scheme) == ("https", "http"):
        raise Refused(f"http.request does not follow {old.host} from https to http")
    if status not in (307, 308):
        method, body = "HEAD" if method == "HEAD" else "GET", None
        headers = {name: value for name, value in headers.items() if not name.startswith("content-")}
    if (old.scheme, old.host, old.port) != (target.scheme, target.host, target.port):
        headers = {name: value for name, value in headers.items() if name in _HARMLESS}
    return _Request(method, target, headers, body)


def _reason(error: Exception) -> str:
    # Never the text of an HTTP error: it quotes what the server sent.
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return f"the answer is broken ({type(error).__name__})"
