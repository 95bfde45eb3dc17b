"""Response parts that resources share: 409, ETag and 304, Retry-After."""

import hashlib
from datetime import datetime
from typing import Any, TypeVar

import orjson
from django.db.models import QuerySet
from django.http import HttpResponseBase
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.http import parse_etags
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound
from rest_framework.request import Request
from rest_framework.response import Response

Row = TypeVar("Row")

SOONEST, LATEST = 1, 30
"""Bounds of Retry-After for an unfinished resource that is due, in seconds."""
SHARE = 10
"""Retry-After is the resource's age divided by this: a client that polls learns of the end a tenth late at most."""


class Conflict(APIException):
    """409: the present state does not allow the request. code: why. headers: added to the response."""

    status_code = status.HTTP_409_CONFLICT
    default_code = "conflict"

    def __init__(self, detail: str, code: str = "conflict", **headers: str) -> None:
        super().__init__(detail, code)
        self.headers = headers


def first_or_404(rows: "QuerySet[Any, Row]") -> Row:
    """Raises NotFound if there is no row."""
    row = rows.first()
    if row is None:
        raise NotFound
    return row


def poll_headers(created_at: datetime, due_at: datetime | None, *, finished: bool) -> dict[str, str]:
    """Retry-After until the resource has finished."""
    return {} if finished else {"Retry-After": str(retry_after(created_at, due_at, timezone.now()))}


def retry_after(created_at: datetime, due_at: datetime | None, now: datetime) -> int:
    """Whole seconds until the next poll, growing with the resource's age.

    due_at: nothing changes before it; the seconds until then, at most 60.
    """
    if due_at is not None:
        return min(max(int((due_at - now).total_seconds()), SOONEST), 60)
    return min(max(int((now - created_at).total_seconds()) // SHARE, SOONEST), LATEST)


def etag(shown: dict[str, Any]) -> str:
    return f'"{hashlib.blake2b(orjson.dumps(shown), digest_size=12).hexdigest()}"'


def conditional(request: Request, response: Response) -> HttpResponseBase:
    """The response, or 304 with the same headers if the client's ETag matches (RFC 9110, 13.1.2)."""
    not_modified = get_conditional_response(request._request, etag=response["ETag"], response=response)
    if not_modified is not response and not_modified is not None:
        for name, value in response.items():
            if name != "Content-Type":
                not_modified.setdefault(name, value)
    return not_modified or response


def matches(tag: str, if_none_match: str) -> bool:
    """True if the client has this ETag (RFC 9110, 13.1.2: a weak comparison)."""
    known = parse_etags(if_none_match)
    return known == ["*"] or tag in (each.removeprefix("W/") for each in known)
