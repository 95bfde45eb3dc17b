"""HTTP requests by route, counted in each web process.

With PROMETHEUS_MULTIPROC_DIR (prometheus_client's multiprocess mode) the processes of a host count into files there,
and any of them answers for all; without it, each answers for itself.
"""

import os
import re
import time

from django.urls import Resolver404, resolve
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_ROUTES = 500
"""Paths whose route is remembered; others are resolved each time."""
UNKNOWN = "unknown"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)

_own = CollectorRegistry()
REQUESTS = Counter("legwork_http_requests", "HTTP requests.", ["method", "route", "status"], registry=_own)
SECONDS = Histogram(
    "legwork_http_request_seconds", "Time to the response.", ["method", "route"], buckets=BUCKETS, registry=_own
)

_routes: dict[str, str] = {}


def observe(method: str, path: str, status: int, started: float) -> None:
    """A request was answered. started: by time.perf_counter()."""
    route, method = route_of(path), method if method in METHODS else "other"
    REQUESTS.labels(method, route, str(status)).inc()
    SECONDS.labels(method, route).observe(time.perf_counter() - started)


def route_of(path: str) -> str:
    """The URL pattern of a path; "unknown" if there is none, so that no caller can make up new ones."""
    key = ID.sub("{id}", path)
    if (route := _routes.get(key)) is None:
        try:
            route = resolve(path).route
        except Resolver404:
            return UNKNOWN
        if route.startswith("^"):  # the pattern of everything else
            return UNKNOWN
        if len(_routes) < MAX_ROUTES:
            _routes[key] = route
    return route


def registry() -> CollectorRegistry:
    """Of this process, or of all processes of this host."""
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        shared = CollectorRegistry()
        MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
        return shared
    return _own
