"""The job kind `http.request`: an HTTP call made later, and retried while the server has trouble."""

import random
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from rest_framework.serializers import ValidationError

from jobs.errors import JobError, PermanentError, Postponed, RetryAfter, TransientError
from jobs.http_request.client import METHODS, NO_BODY, HttpResponse, call, check_headers, check_url, host_of
from jobs.http_request.errors import Refused, Unreachable
from jobs.registry import job, minutes
from jobs.retry import exponential
from jobs.run import Run
from rest.requests.fields import ChoiceField, DictField, IntegerField, ListField, StringField
from rest.requests.strict import AnyValueField, StrictSerializer
from rest.throttling import SECONDS, Window

CALL_TIMEOUT = 30.0
"""Seconds that one HTTP call may take, redirects included, unless the job's timeout is shorter."""
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of temporary errors (RFC 9110, 6585, 8470)."""


class HttpRequestParams(StrictSerializer):
    """Params of http.request. expect: the statuses that count as success; any 2xx by default.

    secret_headers: names of headers that are secret, besides Authorization, Proxy-Authorization and Cookie. Their
    values are stored encrypted and shown to nobody.
    """

    url = StringField(min_length=1, max_length=2048)
    method = ChoiceField(METHODS, required=False)
    headers = DictField(child=StringField(max_length=4096, allow_blank=True), required=False, max_length=100)
    secret_headers = ListField(child=StringField(max_length=100), required=False, max_length=20)
    json = AnyValueField(required=False)
    expect = ListField(child=IntegerField(min_value=100, max_value=599), required=False, min_length=1, max_length=50)

    def validate_url(self, url: str) -> str:
        with _as_validation_error():
            check_url(url, settings.HTTP_REQUEST_ALLOWED_HOSTS, settings.HTTP_REQUEST_ALLOWED_PORTS)
        return url

    def validate_headers(self, headers: dict[str, str]) -> dict[str, str]:
        with _as_validation_error():
            check_headers(headers)
        return headers


@contextmanager
def _as_validation_error() -> Iterator[None]:
    """What the client would refuse to send is refused before a job is stored."""
    try:
        yield
    except Refused as error:
        raise ValidationError(f"{re.sub('^the ', 'The ', str(error))}.") from None


ALWAYS_SECRET = frozenset({"authorization", "proxy-authorization", "cookie"})


def secrets(params: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The params, valid or not, with this change applied to the values of secret headers."""
    headers, named = params.get("headers"), params.get("secret_headers")
    if not isinstance(headers, dict):
        return params
    secret = ALWAYS_SECRET | {str(name).lower() for name in (named if isinstance(named, list) else ())}
    changed = {
        name: change(value) if name.lower() in secret and isinstance(value, str) else value
        for name, value in headers.items()
    }
    return params | {"headers": changed}


@job(
    "http.request",
    params=HttpRequestParams,
    timeout=minutes(1),
    retry=exponential(attempts=5),
    threads=16,
    secrets=secrets,
)
def http_request(
    run: Run,
    *,
    url: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    secret_headers: Sequence[str] = (),
    json: object = NO_BODY,
    expect: list[int] | None = None,
) -> dict[str, Any]:
    """Make an HTTP call later, retried while the other side has trouble; private addresses are refused."""
    require_room(url)
    try:
        response = call(
            method,
            url,
            headers=headers,
            json=json,
            timeout=min(CALL_TIMEOUT, run.timeout),
            allowed_hosts=settings.HTTP_REQUEST_ALLOWED_HOSTS,
            allowed_ports=settings.HTTP_REQUEST_ALLOWED_PORTS,
            on_interruption=run.on_interruption,
        )
    except Refused as error:
        raise PermanentError(str(error)) from None
    except Unreachable as error:
        raise TransientError(str(error)) from None
    if response.status not in (expect or range(200, 300)):
        raise error_for(response)
    return {"status": response.status, "headers": response.headers, "body": response.body}


def require_room(url: str) -> None:
    """Count a call of this URL's host. Raises Postponed beyond MAX_CALLS_PER_HOST in a minute.

    The calls that are refused in one minute come back spread over the next one.
    """
    window = Window("calls", host_of(url))
    if window.add() > settings.MAX_CALLS_PER_HOST:
        wait = window.seconds_left() + random.random() * SECONDS  # noqa: S311 not a secret
        raise Postponed(wait, "this host was called as often as allowed; the call is made later")


def error_for(response: HttpResponse) -> JobError:
    """The error for an unexpected status: permanent, transient, or with the wait that Retry-After asks for."""
    message = f"the response's status was {response.status}"
    if response.status not in TRANSIENT_STATUSES:
        return PermanentError(message)
    wait = response.headers.get("retry-after", "")
    return RetryAfter(int(wait), message) if re.fullmatch("[0-9]{1,4}", wait) else TransientError(message)
