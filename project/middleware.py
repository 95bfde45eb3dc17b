"""What happens to every request before and after the rest: its id, its line of log, and the API's header fields."""

import re
import time
from collections.abc import Callable
from uuid import uuid4

import structlog
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers
from django.utils.functional import SimpleLazyObject
from rest_framework.exceptions import Throttled

from rest import problems
from rest.body import body_limit
from rest.throttling import ALLOWANCE, Allowance, client_address, spend

logger = structlog.get_logger(__name__)

GetResponse = Callable[[HttpRequest], HttpResponseBase]

SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
PAGES = ("/admin/", "/unsubscribe/")
"""What people look at; programs get every error as a problem."""
ADDRESS = re.compile(r"[^/]*@[^/]*")


def request_id(given: str | None) -> str:
    """The caller's own id when it is sane, so that one id follows a request through many programs."""
    return given if given and SANE_ID.fullmatch(given) else uuid4().hex


class RequestIdMiddleware:
    """Binds request_id to every line of log of this request, and sends it back."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        identity = request_id(request.headers.get("X-Request-ID"))
        structlog.contextvars.clear_contextvars()
        with structlog.contextvars.bound_contextvars(request_id=identity):
            started = time.perf_counter()
            response = self.get_response(request)
            response["X-Request-ID"] = identity
            log_access(request.method or "", request.path, response.status_code, started, _user_id(request))
        return response


def log_access(method: str, path: str, status: int, started: float, user: object = None) -> None:
    """One line a request. Neither the query nor an e-mail address in the path belongs into a log."""
    took = round((time.perf_counter() - started) * 1000, 1)
    logger.info("request", method=method, path=ADDRESS.sub("…", path), status=status, duration_ms=took, user_id=user)


def _user_id(request: HttpRequest) -> object:
    """The user if somebody asked who it is; to ask only for the log would cost a query."""
    user = request.__dict__.get("user")
    if isinstance(user, SimpleLazyObject):
        user = getattr(request, "_cached_user", None)
    return getattr(user, "pk", None)


class AnswerMiddleware:
    """Sees to it that what leaves is whole: refuses what no view could handle, and completes the API's answers."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = _refusal(request) or self.get_response(request)
        if request.path.startswith(PAGES):
            return response
        response = _in_one_shape(request, response)
        return _completed(request, response) if request.path.startswith("/api/") else response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Django's own login form passes the throttle of passwords on to here."""
        return problems.locked_out(request, error) if isinstance(error, Throttled) else None


def _refusal(request: HttpRequest) -> HttpResponse | None:
    """NUL is legal in a URL and in a cookie, and no database takes it; and a WSGI server bounds no body."""
    if "\0" in request.path:
        return problems.problem(request, 404, problems.NOT_FOUND)
    if "%00" in request.META.get("QUERY_STRING", "") or "\0" in "".join(request.COOKIES.values()):
        return problems.problem(request, 400, "The query or a cookie contains a NUL character.")
    if _declared_length(request) > body_limit(request.path):
        return problems.problem(request, 413, "The body is too large.")
    return None


def _declared_length(request: HttpRequest) -> int:
    length = request.META.get("CONTENT_LENGTH") or "0"
    return int(length) if length.isdecimal() and len(length) < 20 else 0


def _in_one_shape(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    """Errors that others made in their own way: the web framework's 405, a static file's."""
    if response.status_code < 400 or response.get("Content-Type", "") == problems.MEDIA_TYPE:
        return response
    kept = {name: value for name, value in response.items() if not name.lower().startswith("content-")}
    return problems.problem(request, response.status_code, problems.title(response.status_code), headers=kept)


def _completed(request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
    allowance = request.META.get(ALLOWANCE)
    if not isinstance(allowance, Allowance):
        # It was refused before anybody knew the caller, so it goes to the account of the address.
        allowance = spend(request, f"address:{client_address(request)}")
        if allowance.is_exceeded:
            response = problems.answer_to(Throttled(allowance.seconds_left), request)
    for name, value in allowance.headers().items():
        response[name] = value
    # A browser may keep an answer for its ETag, but asks each time; nobody else may keep it.
    response.setdefault("Cache-Control", "private, no-cache")
    patch_vary_headers(response, ["Authorization", "Cookie"])
    return response
