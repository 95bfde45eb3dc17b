"""What comes of an attempt: a result that can be stored, or an error that decides whether there is another."""

import traceback
from dataclasses import replace

from django.db.models.functions import Now
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from jobs.errors import PermanentError, WorkerLost
from jobs.models import Job
from jobs.models.attempt_errors import AttemptError
from jobs.registry import UnknownKind, find
from jobs.retry import Retry, exponential, next_run
from rest.json_value import NotStorable, json_value, plain_text

MESSAGE_LIMIT = 2_000
TRACEBACK_LIMIT = 20_000


class UnstorableResult(PermanentError):
    """The result cannot be kept: it is not JSON, has a NUL character, or is too long (rest.json_value)."""


def storable(result: object) -> object:
    """The result as plain JSON values; raises UnstorableResult."""
    try:
        return json_value(result)
    except NotStorable as error:
        raise UnstorableResult(f"the result {error}") from None


def conclude_failure(job: Job, error: BaseException) -> None:
    """End a failed attempt: another follows if the kind's policy and the job's budget allow it, or the job ends too."""
    entry = describe(error, job.attempt)
    policy = replace(policy_of(job), attempts=job.max_attempts)
    now = timezone.now()
    run_at = None if isinstance(error, ValidationError) else next_run(policy, job.attempt, error, now)
    if job.cancel_requested:
        job.give_up(entry)
    elif run_at is None:
        job.fail(entry)
    else:
        # A lost attempt keeps its place in the line: at its end, "at once" would mean behind every job that waits.
        # Any other waits by the database's clock: this machine's may be wrong.
        job.retry(entry, job.run_at if isinstance(error, WorkerLost) else Now() + (run_at - now))


def policy_of(job: Job) -> Retry:
    """The job's own backoff, or its kind's, or the default where this process does not know the kind."""
    if job.backoff:
        return Retry(**job.backoff)
    try:
        return find(job.kind).retry
    except UnknownKind:
        return exponential()


def describe(error: BaseException, attempt: int) -> AttemptError:
    """What is kept of an error: its class, its message and, for operators, the end of its traceback."""
    lines = "".join(traceback.format_exception(error))
    return {
        "attempt": attempt,
        "at": timezone.now().isoformat().replace("+00:00", "Z"),
        "type": type(error).__name__,
        "message": plain_text(_message(error))[:MESSAGE_LIMIT],
        "traceback": plain_text(lines)[-TRACEBACK_LIMIT:],
    }


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "this error has no message that could be shown"
