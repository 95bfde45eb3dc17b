"""The outer middleware: the id and the log line of each request, bad requests, and the API's header fields."""

import random
import re
import time
from collections.abc import Callable
from contextlib import nullcontext
from http import HTTPStatus
from ipaddress import ip_address, ip_network

import structlog
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.functional import SimpleLazyObject
from rest_framework.exceptions import Throttled

from jobs.tracing import following
from monitor.metrics.http import observe
from rest import problems
from rest.requests.body import body_limit
from rest.throttling import ALLOWANCE, Allowance, RateLimited, Window, client_address, client_network, count_request
from rest.watch.watchers import USER_KEY

logger = structlog.get_logger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponseBase]

VALID_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
PAGES = ("/admin/", "/unsubscribe/")
"""Pages for people: their errors stay HTML. All other errors are problem+json."""
EMAIL_IN_PATH = re.compile(r"(?<![^/])[^/@]*+@[^/]*+")
LOGGED_PATH = 300
"""Characters of a path in the log."""
UNSUBSCRIBE_LINK = re.compile(r"^/unsubscribe/[^/]*+")
"""Its token is a secret of the recipient."""


def request_id(given: str | None) -> str:
    """The caller's id if it is valid, so that one id follows a request through several programs; else a new one."""
    return given if given and VALID_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"


class RequestIdMiddleware:
    """Adds request_id to every log line of this request, and returns it as X-Request-ID."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        this_id = request_id(request.headers.get("X-Request-ID"))
        structlog.contextvars.clear_contextvars()
        client = logged_client(client_address(request))
        traced = following(request.headers.get("traceparent")) if settings.TRACING else nullcontext()
        with structlog.contextvars.bound_contextvars(request_id=this_id, client=client), traced:
            started = time.perf_counter()
            response = self.get_response(request)
            response["X-Request-ID"] = this_id
            user = _user_id(request)
            request.META.get("asgi.scope", {})[USER_KEY] = user
            log_access(request.method or "", request.path, response.status_code, started, user)
        return response


def logged_client(address: str) -> str | None:
    """The client's address as logs may have it: LOG_CLIENT_ADDRESS is full, masked (/24 or /48) or off."""
    if settings.LOG_CLIENT_ADDRESS == "off":
        return None
    if settings.LOG_CLIENT_ADDRESS == "full":
        return address[:100]
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    return str(ip_network((int(parsed), 24 if parsed.version == 4 else 48), strict=False).network_address)


def log_access(method: str, path: str, status: int, started: float, user: object = None, **more: str | None) -> None:
    """Count the request, and write one line. Without the query, and with e-mail addresses and secrets masked.

    more: request_id and client, where they are not in the logger's context.
    """
    observe(method, path, status, started)
    took = round((time.perf_counter() - started) * 1000, 1)
    more |= {"path": logged_path(path)}
    logger.info("request", method=method, status=status, duration_ms=took, user_id=user, **more)


def logged_path(path: str) -> str:
    """The path as logs may have it."""
    return UNSUBSCRIBE_LINK.sub("/unsubscribe/…", EMAIL_IN_PATH.sub("…", path[:LOGGED_PATH]))


def _user_id(request: HttpRequest) -> object:
    """The user's id if the user was loaded; loading it just for the log would cost a query."""
    user = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject):
        user = getattr(request, "_cached_user", None)
    return getattr(user, "pk", None)


class ResponseMiddleware:
    """Refuses requests that no view could handle, gives all errors one format, and completes the API's headers."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = _refusal(request) or self.get_response(request)
        if request.path.startswith(PAGES):
            return response
        response = _as_problem(request, response)
        return _with_api_headers(request, response) if request.path.startswith("/api/") else response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """The password throttle, when Django's own login form raised it."""
        return problems.locked_out(request, error) if isinstance(error, Throttled) else None


def _refusal(request: HttpRequest) -> HttpResponse | None:
    """NUL is legal in URLs and cookies, but PostgreSQL rejects it. WSGI servers do not limit URLs and bodies."""
    if len(request.path) + len(request.META.get("QUERY_STRING", "")) > settings.URL_LIMIT:
        return problems.problem(request, 414, f"A path and its query have at most {settings.URL_LIMIT} characters.")
    if "\0" in request.path:
        return problems.problem(request, 404, problems.NOT_FOUND)
    if "%00" in request.META.get("QUERY_STRING", "") or "\0" in "".join(request.COOKIES.values()):
        return problems.problem(request, 400, "The query or a cookie contains a NUL character.")
    if _declared_length(request) > body_limit(request.path):
        return problems.problem(request, 413, "The body is too large.")
    return _refuse_flood(request)


def _refuse_flood(request: HttpRequest) -> HttpResponse | None:
    """Limits requests per network to pages and webhooks, which the API's throttle does not see."""
    limit = next((limit for prefix, limit in settings.PAGE_RATES.items() if request.path.startswith(prefix)), None)
    if limit is None or (request.path.startswith("/admin/") and request.method != "POST"):
        return None
    window = Window("page", f"{request.path.split('/')[1]} {client_network(request)}")
    if window.add() <= limit:
        return None
    return problems.locked_out(request, RateLimited(window.seconds_left()))


def _declared_length(request: HttpRequest) -> int:
    length = request.META.get("CONTENT_LENGTH") or "0"
    return int(length) if length.isdecimal() and len(length) < 20 else 0


def _as_problem(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Errors from elsewhere in our format: Django's 405, a missing static file."""
    if response.status_code < 400 or response.get("Content-Type", "") == problems.MEDIA_TYPE:
        return response
    kept = {name: value for name, value in response.items() if not name.lower().startswith("content-")}
    return problems.problem(request, response.status_code, problems.title(response.status_code), headers=kept)


def _with_api_headers(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    allowance = request.META.get(ALLOWANCE)
    if not isinstance(allowance, Allowance):
        # Refused before authentication, so it counts against the client's address.
        allowance = count_request(request, f"address:{client_network(request)}")
        if allowance.is_exceeded:
            response = problems.response_for(RateLimited(allowance.seconds_left), request)
    for name, value in allowance.headers().items():
        response[name] = value
    # A browser may cache a response but must revalidate it by its ETag; shared caches may not.
    response.setdefault("Cache-Control", "private, no-cache")
    patch_vary_headers(response, ["Authorization", "Cookie"])
    if response.status_code == HTTPStatus.NO_CONTENT:
        # RFC 9110, 8.6: a 204 has no Content-Length. Django adds it, and a Content-Type.
        del response["Content-Length"], response["Content-Type"]
    return response
