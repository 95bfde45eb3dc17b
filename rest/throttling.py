"""Rate limits per minute: counters in the shared cache, used by the API's throttling and by password checks."""

import ipaddress
import math
import time
from dataclasses import dataclass
from hashlib import sha256

import structlog
from a2wsgi.asgi_typing import HTTPScope
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django.views import View
from rest_framework.exceptions import Throttled
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from rest import outage

logger = structlog.get_logger(__name__)

SECONDS = 60
ALLOWANCE = "legwork.allowance"
"""Key in a request's META of its Allowance, from which a middleware writes the RateLimit header fields."""


class Window:
    """Counts the events of a subject in a fixed window of one minute, which starts with the first event.

    The subject is hashed, so that cache keys contain neither addresses nor user names. While the cache is unreachable
    nothing is counted: its outage must not become an outage of the API.
    """

    def __init__(self, name: str, subject: str) -> None:
        self.key = f"{name}:{sha256(subject.encode('utf-8', 'replace')).hexdigest()}"

    def count(self) -> int:
        try:
            started = self._started()
            return cache.get(self._counter(started), 0) if started else 0
        except Exception as error:
            return self._without_cache(error)

    def add(self, events: int = 1) -> int:
        """Count events; returns the new count."""
        try:
            started = self._started() or self._start()
            cache.add(self._counter(started), 0, SECONDS + 1)
            count = cache.incr(self._counter(started), events)
        except Exception as error:
            return self._without_cache(error)
        outage.cache.end()
        return count

    def seconds_left(self) -> int:
        try:
            started = self._started() or time.time()
        except Exception:
            started = time.time()
        return max(1, math.ceil(started + SECONDS - time.time()))

    def _started(self) -> float | None:
        started: float | None = cache.get(self.key)
        return started

    def _start(self) -> float:
        now = time.time()
        return now if cache.add(self.key, now, SECONDS) else cache.get(self.key, now)

    def _counter(self, started: float) -> str:
        return f"{self.key}:{started}"

    def _without_cache(self, error: Exception) -> int:
        if not outage.cache.note(error):
            logger.warning("cache_call_failed", exc_info=True)
        return 0


@dataclass(frozen=True)
class Allowance:
    """A caller's use of its limit in the current window."""

    limit: int
    used: int
    seconds_left: int

    @property
    def is_exceeded(self) -> bool:
        return self.used > self.limit

    def headers(self) -> dict[str, str]:
        """draft-ietf-httpapi-ratelimit-headers."""
        left = max(0, self.limit - self.used)
        return {
            "RateLimit-Policy": f'"default";q={self.limit};w={SECONDS}',
            "RateLimit": f'"default";r={left};t={self.seconds_left}',
        }


class RateLimited(Throttled):
    """429: the requests of this minute are used up."""

    default_code = "rate_limited"


class RateLimit(BaseThrottle):
    """RATE_LIMIT_PER_MINUTE requests per user, or per client network without authentication."""

    def allow_request(self, request: Request, view: View) -> bool:
        self.allowance = count_request(request, subject_of(request))
        if self.allowance.is_exceeded:
            raise RateLimited(self.allowance.seconds_left)
        return True


def subject_of(request: Request) -> str:
    """Whose requests are counted together."""
    user = request.user
    if user and user.is_authenticated:
        return user_subject(user.pk)
    return f"address:{client_network(request)}"


def user_subject(user_id: int) -> str:
    return f"user:{user_id}"


def count_request(request: HttpRequest | Request, subject: str, cost: int = 1) -> Allowance:
    """Count a request of this subject, and keep its Allowance for the response's header fields."""
    allowance = count(subject, cost)
    request.META[ALLOWANCE] = allowance
    return allowance


def count(subject: str, cost: int = 1) -> Allowance:
    """Count so many requests of this subject (user_subject(), or address:…). Needs no Django request."""
    window = Window("rate", subject)
    return Allowance(settings.RATE_LIMIT_PER_MINUTE, window.add(cost), window.seconds_left())


def charge_items(request: Request, items: int) -> None:
    """Count a batch, whose request is counted already, as one request for each of its items. Raises RateLimited.

    A refused batch costs nothing more, so that a smaller one may follow.
    """
    allowance = request.META.get(ALLOWANCE)
    if items > 1 and isinstance(allowance, Allowance):
        if allowance.used + items - 1 > allowance.limit:
            raise RateLimited(allowance.seconds_left)
        count_request(request, subject_of(request), items - 1)


def charge_broadcast(request: Request, rows: int) -> None:
    """As charge_items(), but at most half of a minute's requests: the caller must be able to follow the broadcast."""
    charge_items(request, min(rows, max(1, settings.RATE_LIMIT_PER_MINUTE // 2)))


def client_address(request: HttpRequest | Request) -> str:
    return _behind_proxies(request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""))


def address_in(scope: HTTPScope) -> str:
    """client_address() of a request that Django has not seen."""
    peer = (scope.get("client") or ("",))[0]
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    return _behind_proxies(peer, forwarded.decode("latin-1"))


def _behind_proxies(peer: str, forwarded_for: str) -> str:
    """Trusts NUM_PROXIES entries of X-Forwarded-For; with 0 it ignores the header."""
    if not (settings.NUM_PROXIES and forwarded_for):
        return peer
    return forwarded_for.split(",")[-settings.NUM_PROXIES :][0].strip()


def client_network(request: HttpRequest | Request) -> str:
    """The client's address, or the /64 of an IPv6 address, as each customer has at least a whole /64."""
    return network_of(client_address(request))


def network_of(address: str) -> str:
    try:
        parsed = ipaddress.ip_address(address.strip().strip("[]"))
    except ValueError:
        return address[:100]
    if isinstance(parsed, ipaddress.IPv6Address):
        if mapped := parsed.ipv4_mapped:
            return str(mapped)
        return str(ipaddress.ip_network((parsed.packed, 64), strict=False))
    return str(parsed)
