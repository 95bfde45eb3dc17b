"""GET /metrics: for callers that send the token or have an allowed address."""

import hmac
from functools import cache
from ipaddress import ip_address, ip_network
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4 as TEXT_FORMAT
from prometheus_client import generate_latest

from monitor.metrics import http, queue
from rest.problems import problem
from rest.throttling import client_address

DENIED = "Send `Authorization: Bearer TOKEN` with METRICS_TOKEN, or call from an address in METRICS_ALLOWED."


def metrics(request: HttpRequest) -> HttpResponse:
    if request.method not in ("GET", "HEAD"):
        return problem(request, 405, f'Method "{request.method}" not allowed.', headers={"Allow": "GET, HEAD"})
    if not _is_allowed(request):
        return problem(request, 403, DENIED)
    body = queue.exposition() + generate_latest(http.registry())
    return HttpResponse(body, content_type=TEXT_FORMAT, headers={"Cache-Control": "no-store"})


def _is_allowed(request: HttpRequest) -> bool:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    expected = settings.METRICS_TOKEN
    if expected and scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode(), expected.encode()):
        return True
    try:
        address = ip_address(client_address(request))
    except ValueError:
        return False
    return any(address in network for network in _networks(tuple(settings.METRICS_ALLOWED)))


@cache
def _networks(texts: tuple[str, ...]) -> list[Any]:
    """Raises ValueError for what is neither an address nor a network."""
    return [ip_network(text, strict=False) for text in texts]
