"""Rate limits per minute: counters in the shared cache, used by the API's throttling and by password checks."""

import math
import time
from dataclasses import dataclass
from hashlib import sha256

import structlog
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django.views import View
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

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
        except Exception:
            return self._without_cache()

    def add(self, events: int = 1) -> int:
        """Count events; returns the new count."""
        try:
            started = self._started() or self._start()
            cache.add(self._counter(started), 0, SECONDS + 1)
            return cache.incr(self._counter(started), events)
        except Exception:
            return self._without_cache()

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

    def _without_cache(self) -> int:
        logger.warning("cache_unavailable", exc_info=True)
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


class RateLimit(BaseThrottle):
    """RATE_LIMIT_PER_MINUTE requests per user, or per client address without authentication."""

    def allow_request(self, request: Request, view: View) -> bool:
        user = request.user
        subject = user_subject(user.pk) if user and user.is_authenticated else f"address:{client_address(request)}"
        self.allowance = count_request(request, subject)
        return not self.allowance.is_exceeded

    def wait(self) -> float:
        return self.allowance.seconds_left


def user_subject(user_id: int) -> str:
    return f"user:{user_id}"


def count_request(request: HttpRequest | Request, subject: str, cost: int = 1) -> Allowance:
    """Count a request of this subject, and keep its Allowance for the response's header fields."""
    allowance = count(subject, cost)
    request.META[ALLOWANCE] = allowance
    return allowance


def count(subject: str, cost: int = 1) -> Allowance:
    """Count requests of this subject (user_subject, or address:…), for callers without a Django request too."""
    window = Window("rate", subject)
    return Allowance(settings.RATE_LIMIT_PER_MINUTE, window.add(cost), window.seconds_left())


def client_address(request: HttpRequest | Request) -> str:
    """The client's address. Trusts NUM_PROXIES entries of X-Forwarded-For; with 0 it ignores the header."""
    return BaseThrottle().get_ident(request) or ""  # type: ignore[arg-type]
