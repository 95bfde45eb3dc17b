"""The way in: a job is validated, then stored, and from then on it is not lost."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any, TypedDict, Unpack
from uuid import UUID

import structlog
from django.contrib.auth.models import User
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from jobs.brokers.notifier import announce
from jobs.models import Job
from jobs.models.clock import database_now
from jobs.models.ids import new_id
from jobs.models.states import Status
from jobs.registry import Kind, find
from jobs.retry import Retry

log = structlog.get_logger(__name__)


class Options(TypedDict, total=False):
    """What may be said of a job, or of many alike, besides kind and params.

    user: whose it is. run_at: not before; a past one means now. priority: higher first. timeout: seconds; timeout,
    max_attempts and retry default to the kind's.
    """

    user: User | None
    run_at: datetime | None
    priority: int
    timeout: int | None
    max_attempts: int | None
    retry: Retry | None


class OptionsOfOne(Options, total=False):
    """What may be said of one job only. unique_key: at most one unfinished job of the user has it."""

    unique_key: str | None


def submit(kind: str, params: dict[str, Any] | None = None, **options: Unpack[OptionsOfOne]) -> Job:
    """Store a job and return it; a worker starts it when it is due.

    Raises jobs.registry.UnknownKind, rest_framework.serializers.ValidationError for bad params, and UniqueKeyTaken.
    """
    job = prepare(kind, params, **options)
    store(job)
    return job


def submit_many(kind: str, many_params: Iterable[dict[str, Any]], **options: Unpack[Options]) -> list[UUID]:
    """Store a job for each of these params, all of one kind with the same options, and return their ids.

    All or none: raises as submit() does, ValidationError with the place of the bad params (0 is the first). There is
    no unique_key for many: TypeError.
    """
    if "unique_key" in options:
        raise TypeError("submit_many() takes no unique_key, which is one job's: submit() each of them with its own")
    definition, rows = find(kind), []
    for place, params in enumerate(many_params):
        try:
            rows.append((new_id(), definition.checked(params)))
        except ValidationError as error:
            raise ValidationError({str(place): error.detail}) from None
    if rows:
        template = _job(definition, rows[0][1], **options)
        Job.objects.insert_alike(template, rows)
        announce([template])
        log.info("jobs_submitted", kind=kind, count=len(rows))
    return [pk for pk, _ in rows]


def prepare(kind: str, params: dict[str, Any] | None = None, **options: Unpack[OptionsOfOne]) -> Job:
    """A job as submit() would store it, not stored yet. Raises UnknownKind, ValidationError."""
    definition = find(kind)
    return _job(definition, definition.checked({} if params is None else params), **options)


def store(job: Job) -> None:
    """Insert a prepared job and wake a worker for it. Raises UniqueKeyTaken."""
    if job.unique_key is None:
        Job.objects.insert(job)
    else:
        job.with_unique_key(partial(Job.objects.insert, job))
    announce([job])
    log.info("job_submitted", job_id=str(job.pk), kind=job.kind, status=job.status)


def store_many(jobs: Sequence[Job]) -> None:
    """Insert prepared jobs, none of which has a unique_key, in one statement, and wake workers for them."""
    Job.objects.bulk_create(jobs)
    announce(jobs)
    log.info("jobs_submitted", count=len(jobs))


def _job(definition: Kind, params: object, **options: Unpack[OptionsOfOne]) -> Job:
    run_at, retry = options.get("run_at"), options.get("retry")
    # No job starts before its run_at, however wrong this machine's clock is.
    now = timezone.now() if run_at is None else database_now()
    # A past run_at means now: as it is, it would put the job before all that were created earlier.
    run_at = max(run_at or now, now)
    attempts = options.get("max_attempts") or (retry or definition.retry).attempts
    return Job(
        kind=definition.name,
        params=params,
        user=options.get("user"),
        queue=definition.queue,
        pool=definition.pool,
        status=Status.SCHEDULED if run_at > now else Status.QUEUED,
        run_at=run_at,
        created_at=now,
        priority=options.get("priority", 0),
        timeout=options.get("timeout") or definition.timeout,
        max_attempts=attempts,
        budget=attempts,
        backoff=retry and asdict(retry),
        unique_key=options.get("unique_key"),
        request_id=structlog.contextvars.get_contextvars().get("request_id", ""),
    )
