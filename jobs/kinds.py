"""The kinds of job that ship with the engine: two for trying it, and http.request from jobs/http_request/kind.py."""

import time
from typing import Any

from jobs.errors import JobError, PermanentError, TransientError
from jobs.http_request.kind import http_request as http_request  # imported to register it
from jobs.registry import job, minutes
from jobs.retry import exponential
from jobs.run import Run
from rest.requests.fields import ChoiceField, IntegerField, StringField
from rest.requests.strict import StrictSerializer

COUNTDOWN_ERRORS: dict[str, type[JobError]] = {"transient": TransientError, "permanent": PermanentError}


class CountdownParams(StrictSerializer):
    """Params of demo.countdown. fail_attempts: how many of the first attempts fail, with this error."""

    seconds = IntegerField(min_value=0, max_value=3600)
    fail_attempts = IntegerField(min_value=0, max_value=1000, required=False)
    error = ChoiceField(sorted(COUNTDOWN_ERRORS), required=False)


class RemoteParams(StrictSerializer):
    """Params of demo.remote."""

    note = StringField(max_length=1000, allow_blank=True)


@job("demo.countdown", params=CountdownParams, timeout=minutes(70), retry=exponential(attempts=3, base=1))
def countdown(run: Run, *, seconds: int, fail_attempts: int = 0, error: str = "transient") -> dict[str, Any]:
    """Count seconds and report progress; the first attempts fail if asked to."""
    if run.attempt <= fail_attempts:
        raise COUNTDOWN_ERRORS[error](f"attempt {run.attempt} was asked to fail")
    for counted in range(seconds):
        run.progress(100 * counted / seconds, f"{seconds - counted} s left")
        time.sleep(1)
    run.progress(100, "done")
    return {"counted": seconds}


@job("demo.remote", params=RemoteParams, remote=True)
def remote(run: Run, *, note: str) -> None:
    """A note for a program of yours that leases it at leases/."""
