"""Routes each request's reads and forbids writes where needed: safe methods never write and may read from replicas.

If a database fails during a safe request, the request runs a second time: the first run cannot have changed anything.
"""

from collections.abc import Callable, Iterator
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.db import connections
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from project.replicas import probe
from project.replicas.read_your_writes import record_write, require_own_writes
from rest import problems
from rest.outage import DatabaseAway
from rest.read_only import forbid_writes
from routers import PRIMARY, Route, pool, replica_was_read, route, routed

log = structlog.get_logger(__name__)

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class RoutingMiddleware:
    """The innermost middleware, so that it routes the queries of views and of the API's authentication."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        probe.background_probe.for_requests = True

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        probe.background_probe.ensure_started()
        return self._safe(request) if request.method in SAFE else self._unsafe(request)

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponseBase | None:
        """Apply read-your-writes to the user of a session. For users of a token the API's authentication does it."""
        if not route().may_use_replicas or settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return None
        if not _session_exists(request) and replica_was_read():
            # A new session object: Django would delete the cookie of one that was looked for and not found.
            request.session = type(request.session)(request.COOKIES[settings.SESSION_COOKIE_NAME])
            if not probe.primary_is_available():
                error = DatabaseAway("the primary is away, and no replica knows this session")
                return problems.response_for(error, request)
        if user_id := request.session.get(SESSION_KEY):
            # Before the user is loaded: a replica with an older password hash would end the session.
            require_own_writes(int(user_id))
        return None

    def _safe(self, request: HttpRequest) -> HttpResponseBase:
        response = self._read(request, Route(may_use_replicas=bool(settings.REPLICAS)))
        if response.status_code not in (500, 503) or not settings.REPLICAS or not _should_run_again(response):
            return response
        # Once more, on the primary; on any replica if the primary is out.
        return self._read(request, Route(may_use_replicas=pool.primary_is_out))

    def _read(self, request: HttpRequest, by: Route) -> HttpResponseBase:
        with forbid_writes(), routed(by):
            response = self.get_response(request)
        if isinstance(response, StreamingHttpResponse) and not response.is_async:
            response.streaming_content = _stream(iter(response), by)
        return response

    def _unsafe(self, request: HttpRequest) -> HttpResponseBase:
        if settings.REPLICAS and not probe.primary_is_available():
            return problems.response_for(DatabaseAway("the primary is away"), request)
        with routed(Route()):
            response = self.get_response(request)
        record_write(getattr(request, "user", None))
        return response


def _session_exists(request: HttpRequest) -> bool:
    """True if the cookie's session was found. It is read from the primary while that is available."""
    request.session.keys()  # loads the session, and clears its key if there is none
    return request.session.session_key is not None


def _stream(parts: Iterator[bytes], by: Route) -> Iterator[bytes]:
    """Content that is produced after the view has returned is subject to the same rules as the view."""
    while True:
        with forbid_writes(), routed(by):
            part = next(parts, None)
        if part is None:
            return
        yield part


def _should_run_again(response: HttpResponseBase) -> bool:
    """True if a database failed during this request and another one can serve it. Ejects what does not answer.

    A replica behind a balancer may answer again by now: the balancer cuts the connections to a server that it takes
    out. A 500 is repeated as well: the replica may not have replayed a migration yet.
    """
    failed = {alias for alias in (PRIMARY, *settings.REPLICAS) if connections[alias].errors_occurred}
    if not failed or (response.status_code == 500 and failed == {PRIMARY}):
        return False
    for alias in failed & pool.replayed.keys():
        if not probe.answers(alias):
            pool.eject(alias)
            log.warning("replica_failed", replica=alias)
    if not pool.primary_is_out:
        pool.primary_is_out = not probe.answers(PRIMARY)
    return True
