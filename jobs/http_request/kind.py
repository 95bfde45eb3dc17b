"""The job kind `http.request`: an HTTP call made later, and repeated while the other side has trouble."""

import re
from typing import Any

from django.conf import settings
from rest_framework import serializers

from jobs.errors import JobError, PermanentError, RetryAfter, TransientError
from jobs.http_request.client import METHODS, NO_BODY, HttpResponse, call
from jobs.http_request.errors import Refused, Unreachable
from jobs.registry import job, minutes
from jobs.retry import exponential
from jobs.run import Run
from rest.strict import AnyValueField, StrictSerializer

CALL_TIMEOUT = 30.0
"""Seconds that one HTTP call may take, redirects included, unless the job's timeout is shorter."""
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of trouble that passes (RFC 9110, 6585, 8470)."""


class HttpRequestParams(StrictSerializer):
    """Params of http.request. expect: the statuses that count as success; any 2xx by default."""

    url = serializers.CharField(min_length=1, max_length=2048)
    method = serializers.ChoiceField(METHODS, required=False)
    headers = serializers.DictField(child=serializers.CharField(max_length=4096, allow_blank=True), required=False)
    json = AnyValueField(required=False)
    expect = serializers.ListField(
        child=serializers.IntegerField(min_value=100, max_value=599), required=False, min_length=1, max_length=50
    )


@job("http.request", params=HttpRequestParams, timeout=minutes(1), retry=exponential(attempts=5), threads=16)
def http_request(
    run: Run,
    *,
    url: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    json: object = NO_BODY,
    expect: list[int] | None = None,
) -> dict[str, Any]:
    """Make an HTTP call later, retried while the other side has trouble; private addresses are refused."""
    try:
        response = call(
            method,
            url,
            headers=headers,
            json=json,
            timeout=min(CALL_TIMEOUT, run.timeout),
            allowed_hosts=settings.HTTP_REQUEST_ALLOWED_HOSTS,
            on_interruption=run.on_interruption,
        )
    except Refused as error:
        raise PermanentError(str(error)) from None
    except Unreachable as error:
        raise TransientError(str(error)) from None
    if response.status not in (expect or range(200, 300)):
        raise error_for(response)
    return {"status": response.status, "headers": response.headers, "body": response.body}


def error_for(response: HttpResponse) -> JobError:
    """The error for an unexpected status: permanent, transient, or with the wait that Retry-After asks for."""
    message = f"the response's status was {response.status}"
    if response.status not in TRANSIENT_STATUSES:
        return PermanentError(message)
    wait = response.headers.get("retry-after", "")
    return RetryAfter(int(wait), message) if re.fullmatch("[0-9]{1,4}", wait) else TransientError(message)
