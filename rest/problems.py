"""Error responses as application/problem+json (RFC 9457): for exceptions in DRF and Django, and for unknown URLs."""

import sys
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from django.core.exceptions import (
    BadRequest,
    ObjectDoesNotExist,
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.urls import Resolver404, resolve
from django.utils.html import escape
from django.views import defaults
from django.views.csrf import csrf_failure as html_csrf_failure
from django.views.decorators.csrf import csrf_exempt
from psycopg2.errors import LockNotAvailable
from rest_framework.exceptions import APIException, Throttled
from rest_framework.views import set_rollback

from rest import outage
from rest.read_only import WriteInSafeMethod
from rest.requests.field_errors import FieldError, first_errors, shortened

logger = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
QUOTA_EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
TITLES = {413: "Content Too Large", 422: "Unprocessable Content"}
"""RFC 9110's phrases; http.HTTPStatus of Python 3.11 has older ones."""
NOT_FOUND = "There is nothing here, or it is not yours."
LOCK_RETRY_AFTER = 1
DATABASE_RETRY_AFTER = 5


def document(status: int, detail: str, instance: str, errors: Iterable[FieldError] = (), code: str = "") -> bytes:
    """The JSON text of a problem. code: the cause, for programs; by default the status's name."""
    members: dict[str, Any] = {
        "type": QUOTA_EXCEEDED if status == 429 else "about:blank",
        "title": title(status),
        "status": status,
        "detail": shortened(detail),
        "instance": shortened(instance),
        "code": code or HTTPStatus(status).name.lower(),
    }
    if found := list(errors):
        members["errors"] = found
    return orjson.dumps(members, default=str)


def title(status: int) -> str:
    return TITLES.get(status) or HTTPStatus(status).phrase


def problem(
    request: HttpRequest,
    status: int,
    detail: str,
    errors: Iterable[FieldError] = (),
    headers: Mapping[str, str] | None = None,
    code: str = "",
) -> HttpResponse:
    body = document(status, detail, request.path, errors, code)
    response = HttpResponse(body, content_type=MEDIA_TYPE, status=status, headers=dict(headers or {}))
    # CommonMiddleware would set it, but responses of the middleware outside it do not pass through.
    response["Content-Length"] = str(len(body))
    if status >= 500:  # keeps Django from logging it once more, with a traceback
        response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def exception_handler(error: Exception, context: Mapping[str, Any]) -> HttpResponse:
    """DRF's hook. Responds to every exception, so that DRF does not re-raise unexpected ones.

    Only WriteInSafeMethod is raised: it is a bug, so tests must fail, and clients get a 500 from Django's handler.
    """
    set_rollback()
    if isinstance(error, WriteInSafeMethod):
        raise error
    return response_for(error, context["request"])


def response_for(error: BaseException, request: HttpRequest) -> HttpResponse:
    match error:
        case APIException():
            return _api_problem(error, request)
        case Http404():
            return problem(request, 404, NOT_FOUND)
        case ObjectDoesNotExist():  # a row was deleted during the request
            logger.warning("row_gone", exc_info=error)
            return problem(request, 404, NOT_FOUND)
        case PermissionDenied():
            return problem(request, 403, "This is not allowed.", code="permission_denied")
        case RequestDataTooBig():
            return problem(request, 413, "The body is too large.")
        case SuspiciousOperation() | BadRequest() | MultiPartParserError() | UnreadablePostError():
            return problem(request, 400, "The request cannot be understood.", code="malformed")
        case DataError():
            # DataError is a subclass of DatabaseError: a valid value did not fit a column; not an outage.
            logger.error("value_out_of_range", exc_info=error)
            return problem(request, 400, "A value is out of range.", code="out_of_range")
        case OperationalError() if isinstance(error.__cause__, LockNotAvailable):
            logger.warning("row_locked", exc_info=error)
            retry = {"Retry-After": str(LOCK_RETRY_AFTER)}
            detail = "Another transaction is changing this right now; try again."
            return problem(request, 503, detail, headers=retry, code="locked")
        case OperationalError() | InterfaceError():
            if not outage.database.note(error):
                logger.error("database_unavailable", exc_info=error)
            retry = {"Retry-After": str(DATABASE_RETRY_AFTER)}
            detail = "The database is unreachable right now; try again."
            return problem(request, 503, detail, headers=retry, code="database_unavailable")
    logger.error("request_failed", exc_info=error)
    return problem(request, 500, "Internal error; it has been logged.")


def _api_problem(error: APIException, request: HttpRequest) -> HttpResponse:
    errors = first_errors(error.detail) if isinstance(error.detail, list | dict) else []
    headers = dict(getattr(error, "headers", {}))
    if challenge := getattr(error, "auth_header", None):
        headers.setdefault("WWW-Authenticate", challenge)
    if (wait := getattr(error, "wait", None)) is not None:
        headers.setdefault("Retry-After", str(wait))
    return problem(request, error.status_code, _summary(error, errors), errors, headers, _code(error))


def _summary(error: APIException, errors: list[FieldError]) -> str:
    if not isinstance(error.detail, list | dict):
        return str(error.detail)
    if len(errors) == 1 and not errors[0]["field"]:
        return errors[0]["detail"]
    return "The request is not valid; see errors."


def _code(error: APIException) -> str:
    """The error's own code. An invalid input has one code for all its errors, which each have their own."""
    return str(getattr(error.detail, "code", "")) or "invalid"


# --- Django's error handlers (project/urls.py, settings); the admin keeps its HTML pages --------------------------


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return defaults.bad_request(request, exception) if _for_people(request) else response_for(exception, request)


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    return defaults.permission_denied(request, exception) if _for_people(request) else response_for(exception, request)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    return defaults.page_not_found(request, exception) if _for_people(request) else response_for(exception, request)


def server_error(request: HttpRequest) -> HttpResponse:
    error = sys.exc_info()[1]
    if _for_people(request) and not isinstance(error, OperationalError | InterfaceError):
        return defaults.server_error(request)
    return response_for(error or RuntimeError("an error without an exception"), request)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    if _for_people(request):
        return html_csrf_failure(request, reason)
    return problem(request, 403, f"CSRF Failed: {reason}", code="csrf_failed")


def locked_out(request: HttpRequest, error: Throttled) -> HttpResponse:
    """429 for too many wrong passwords in a Django form, which does not use DRF's exception handler."""
    if not _for_people(request):
        return response_for(error, request)
    page = (
        f"<!doctype html><title>Too many attempts</title><h1>Too many attempts</h1><p>{escape(str(error.detail))}</p>"
    )
    return HttpResponse(page, status=429, headers={"Retry-After": str(getattr(error, "wait", 60))})


@csrf_exempt
def unknown_url(request: HttpRequest, rest: str = "") -> HttpResponse:
    """The last route: a 404 as problem+json, also with DEBUG. Names the URL if only the trailing slash is missing."""
    with_slash = f"{request.path}/"
    if not request.path.endswith("/") and _is_known(with_slash):
        return problem(request, 404, f"There is nothing here; did you mean {with_slash}?")
    return problem(request, 404, NOT_FOUND)


def _is_known(path: str) -> bool:
    try:
        return resolve(path).func is not unknown_url
    except Resolver404:
        return False


def _for_people(request: HttpRequest) -> bool:
    return request.path.startswith("/admin/")
