"""What a request may do with the databases: safe methods never write and may read from replicas, others do not.

A database that fails under a safe request costs it a second run, because the first cannot have changed anything.
"""

from collections.abc import Callable, Iterator
from typing import Any

import structlog
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.db import OperationalError, connections
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from project.replicas import probe, replica_pool
from project.replicas.read_your_writes import follow, remember
from rest import problems
from rest.read_only import writing_forbidden
from routers import PRIMARY, Route, pool, replica_was_read, route, routed

log = structlog.get_logger(__name__)

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class ReadsMiddleware:
    """Next to the views: what it routes is theirs and the authentication's."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response
        replica_pool.probe.for_requests = True

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        replica_pool.probe.begin()
        return self._safe(request) if request.method in SAFE else self._unsafe(request)

    def _safe(self, request: HttpRequest) -> HttpResponseBase:
        response = self._read(request, Route(may_use_replicas=bool(settings.REPLICAS)))
        if response.status_code not in (500, 503) or not settings.REPLICAS or not _a_database_failed(response):
            return response
        # The primary answers instead, or without it whoever is left; once.
        return self._read(request, Route(may_use_replicas=pool.primary_is_out))

    def _read(self, request: HttpRequest, here: Route) -> HttpResponseBase:
        with writing_forbidden(), routed(here):
            response = self.get_response(request)
        if isinstance(response, StreamingHttpResponse) and not response.is_async:
            response.streaming_content = _still_reading(iter(response), here)
        return response

    def process_view(self, request: HttpRequest, *view: Any) -> HttpResponseBase | None:
        """Who comes with a session need not meet the API's authentication, which follows those with a token."""
        if not route().may_use_replicas or settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return None
        if not _is_known(request) and replica_was_read():
            # Anew: to one that was looked for in vain the cookie means nothing any more, and Django would delete that.
            request.session = type(request.session)(request.COOKIES[settings.SESSION_COOKIE_NAME])
            if not probe.primary_is_there():
                nobody_knows = OperationalError("the primary is away, and no replica knows this session")
                return problems.answer_to(nobody_knows, request)
        if user_id := request.session.get(SESSION_KEY):
            # Before the user is looked at: a replica that knows another password of his would end his session.
            follow(int(user_id))
        return None

    def _unsafe(self, request: HttpRequest) -> HttpResponseBase:
        if settings.REPLICAS and not probe.primary_is_there():
            return problems.answer_to(OperationalError("the primary is away"), request)
        with routed(Route()):
            response = self.get_response(request)
        if settings.REPLICAS:
            remember(getattr(request, "user", None))
        return response


def _is_known(request: HttpRequest) -> bool:
    """Whether the session that the cookie names was found; it is looked for on the primary while that is there."""
    request.session.keys()  # loads it, and forgets the key of one that is not there
    return request.session.session_key is not None


def _still_reading(parts: Iterator[bytes], here: Route) -> Iterator[bytes]:
    """What a view streams is made after it has returned; the view's bounds hold for it, too."""
    while True:
        with writing_forbidden(), routed(here):
            part = next(parts, None)
        if part is None:
            return
        yield part


def _a_database_failed(response: HttpResponseBase) -> bool:
    """Whether one has failed under this request that another one may stand in for; everybody is told who is away.

    Behind a balancer nobody need be: it cuts the connections to a server that it takes out. With a 500 the replica may
    not know yet what a migration has changed.
    """
    failed = {alias for alias in (PRIMARY, *settings.REPLICAS) if connections[alias].errors_occurred}
    if not failed or (response.status_code == 500 and failed == {PRIMARY}):
        return False
    for alias in failed & pool.replayed.keys():
        if not probe.answers(alias):
            pool.put_out(alias)
            log.warning("replica_failed", replica=alias)
    if not pool.primary_is_out:
        pool.primary_is_out = not probe.answers(PRIMARY)
    return True
