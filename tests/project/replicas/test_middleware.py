"""A session that no replica knows while the primary is away: whether it is valid is unknown, so its cookie stays."""

from types import SimpleNamespace
from typing import Any

import pytest
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.test import RequestFactory

from project.replicas import middleware, probe
from project.replicas.middleware import RoutingMiddleware
from routers import PRIMARY, pool

SERVERS = [PRIMARY, "replica1"]


@pytest.fixture(autouse=True)
def _without_the_primary(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    settings.REPLICAS = {"replica1": {}}
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"
    monkeypatch.setattr(probe.background_probe, "ensure_started", lambda: None)
    monkeypatch.setattr(pool, "primary_is_out", True)
    monkeypatch.setattr(probe, "answers", lambda alias: alias != PRIMARY)
    monkeypatch.setattr(middleware, "replica_was_read", lambda: True)


@pytest.mark.parametrize("failed_before", [False, True])
def test_an_unknown_session_is_answered_503_and_keeps_its_cookie(
    monkeypatch: pytest.MonkeyPatch, failed_before: bool
) -> None:
    """Also in a thread whose connection to the primary has failed, where the request is run twice."""
    connections = {alias: SimpleNamespace(errors_occurred=alias == PRIMARY and failed_before) for alias in SERVERS}
    monkeypatch.setattr(middleware, "connections", connections)
    runs = []

    def view(request: HttpRequest) -> HttpResponseBase:
        runs.append(request)
        return reads.process_view(request) or HttpResponse()

    reads = RoutingMiddleware(view)
    request = RequestFactory().get("/")
    request.COOKIES["sessionid"] = "nobody-knows-it"
    response = SessionMiddleware(reads)(request)

    assert (response.status_code, len(runs)) == (503, 2 if failed_before else 1)
    assert "sessionid" not in response.cookies
