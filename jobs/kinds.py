"""The kinds of job that ship with the engine."""

import re
import time
from typing import Any

from django.conf import settings
from rest_framework import serializers

from jobs.errors import JobError, PermanentError, RetryAfter, TransientError
from jobs.http_request import client
from jobs.registry import job, minutes
from jobs.retry import exponential
from jobs.run import Run
from rest.strict import AnyValueField, StrictSerializer

CALL_TIMEOUT = 30.0
"""Seconds that one HTTP call of http.request may take, redirects included, if its job has as many."""
WORTH_ANOTHER_TRY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses of trouble that passes (RFC 9110, 6585, 8470)."""

COUNTDOWN_ERRORS: dict[str, type[JobError]] = {"transient": TransientError, "permanent": PermanentError}


class CountdownParams(StrictSerializer):
    """What demo.countdown takes; fail_attempts: how many of the first attempts fail, with the given error."""

    seconds = serializers.IntegerField(min_value=0, max_value=3600)
    fail_attempts = serializers.IntegerField(min_value=0, max_value=1000, required=False)
    error = serializers.ChoiceField(sorted(COUNTDOWN_ERRORS), required=False)


@job("demo.countdown", params=CountdownParams, timeout=minutes(70), retry=exponential(attempts=3, base=1))
def countdown(run: Run, *, seconds: int, fail_attempts: int = 0, error: str = "transient") -> dict[str, Any]:
    """Count seconds and show how far it has come; the first attempts fail when asked to."""
    if run.attempt <= fail_attempts:
        raise COUNTDOWN_ERRORS[error](f"attempt {run.attempt} was asked to fail")
    for counted in range(seconds):
        run.progress(100 * counted / seconds, f"{seconds - counted} s left")
        time.sleep(1)
    run.progress(100, "done")
    return {"counted": seconds}


class HttpRequestParams(StrictSerializer):
    """What http.request takes; expect: the statuses that are a success, any 2xx when left out."""

    url = serializers.CharField(min_length=1, max_length=2048)
    method = serializers.ChoiceField(client.METHODS, required=False)
    headers = serializers.DictField(child=serializers.CharField(max_length=4096, allow_blank=True), required=False)
    json = AnyValueField(required=False, allow_null=True)
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
    json: object = client.NO_BODY,
    expect: list[int] | None = None,
) -> dict[str, Any]:
    """Make an HTTP call later, and again while the other side has trouble; private addresses are refused."""
    try:
        answer = client.call(
            method,
            url,
            headers=headers,
            json=json,
            timeout=min(CALL_TIMEOUT, run.timeout),
            allowed_hosts=settings.HTTP_REQUEST_ALLOWED_HOSTS,
            on_interruption=run.on_interruption,
        )
    except client.Refused as error:
        raise PermanentError(str(error)) from None
    except client.Unreachable as error:
        raise TransientError(str(error)) from None
    if answer.status not in (expect or range(200, 300)):
        raise unexpected(answer)
    return {"status": answer.status, "headers": answer.headers, "body": answer.body}


def unexpected(answer: client.Answer) -> JobError:
    """What an answer that was not expected means for the next attempt."""
    message = f"the answer was {answer.status}"
    if answer.status not in WORTH_ANOTHER_TRY:
        return PermanentError(message)
    wait = answer.headers.get("retry-after", "")
    return RetryAfter(int(wait), message) if re.fullmatch("[0-9]{1,4}", wait) else TransientError(message)
