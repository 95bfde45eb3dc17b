"""What an attempt ends in, and how it is recorded: results many at a time, each error by its job's retry policy."""

import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from django.db import DataError, InterfaceError, OperationalError
from django.db.models.functions import Now
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from jobs.errors import JobError, LeaseLost, PermanentError, Postponed, WorkerLost
from jobs.models import Job
from jobs.models.attempt_errors import AttemptError
from jobs.registry import UnknownKind, find_kind
from jobs.retry import Retry, exponential, next_run
from jobs.worker.attempts.batches import Returned, conclude
from jobs.worker.attempts.interrupt import Interrupted
from rest.json_value import NotStorable, clean_text, to_json

PUBLIC = (JobError, Interrupted, ValidationError)
"""Errors whose messages are written for the owner of the job."""
OUTAGES = (OperationalError, InterfaceError)
"""The database cannot be reached, or gives up for now: the same write is repeated."""
MESSAGE_LIMIT = 2_000
TRACEBACK_LIMIT = 20_000


class UnstorableResult(PermanentError):
    """The result is not JSON, contains a NUL character, or is too long (see rest.json_value)."""


def normalise(result: object) -> object:
    """The result as plain JSON values; raises UnstorableResult."""
    try:
        return to_json(result)
    except NotStorable as error:
        raise UnstorableResult(f"the result {error}") from None


def record_results(worker: str, returned: Sequence[Returned]) -> list[Returned]:
    """Store what handlers of this worker's jobs returned. What cannot be stored fails its own job alone.

    Returns what is not stored because another transaction keeps the job's row locked.
    """
    try:
        locked = Job.objects.succeed_many(worker, conclude(returned))
    except OUTAGES:
        raise
    except Exception:
        for job, value in returned:
            _record_result(job, value)
        return []
    return [(job, value) for job, value in returned if job.pk in locked]


def _record_result(job: Job, value: object) -> None:
    with suppress(LeaseLost):
        try:
            [(_, result)] = conclude([(job, value)])
            job.succeed(result)
        except OUTAGES:
            raise
        except DataError as error:
            record_failure(job, UnstorableResult(f"the database refuses the result: {error}"))
        except Exception as error:
            record_failure(job, error)


def record_failure(job: Job, error: BaseException) -> None:
    """End a failed attempt: retry the job if its kind's policy and its own budget allow, else fail it."""
    entry = error_entry(error, job.attempt, job.started_at)
    policy = replace(retry_policy(job), attempts=job.max_attempts)
    now = timezone.now()
    run_at = None if isinstance(error, ValidationError) else next_run(policy, job.attempt, error, now)
    if job.cancel_requested:
        job.finish_cancelled(entry)
    elif run_at is None:
        job.fail(entry)
    elif isinstance(error, Postponed):
        job.postpone(entry, Now() + (run_at - now))
    else:
        # A job whose worker was lost keeps its place in the queue: with run_at = now it would go behind all that wait.
        # Other retries are relative to the database's clock, as this machine's may be wrong.
        job.retry(entry, job.run_at if isinstance(error, WorkerLost) else Now() + (run_at - now))


def retry_policy(job: Job) -> Retry:
    """The job's own backoff, else its kind's; the default if this process does not know the kind."""
    if job.backoff:
        return Retry(**job.backoff)
    try:
        return find_kind(job.kind).retry
    except UnknownKind:
        return exponential()


def error_entry(error: BaseException, attempt: int, started_at: datetime | None = None) -> AttemptError:
    """What is stored of an attempt's error: class, message, times and, for operators, the end of the traceback."""
    lines = "".join(traceback.format_exception(error))
    return {
        "attempt": attempt,
        "started_at": _rfc3339(started_at) if started_at else None,
        "at": _rfc3339(timezone.now()),
        "type": type(error).__name__,
        "message": clean_text(_message(error))[:MESSAGE_LIMIT],
        "traceback": clean_text(lines)[-TRACEBACK_LIMIT:],
        "public": isinstance(error, PUBLIC),
    }


def _rfc3339(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")


def _message(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return "this error has no message that could be shown"
