"""Submits jobs: validates the params, inserts the row and notifies the broker. A stored job is never lost."""

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

from jobs import tracing
from jobs.brokers.notifier import notify
from jobs.models import Job
from jobs.models.queue.clock import database_now
from jobs.models.states import Status
from jobs.priorities import OWN_PRIORITY
from jobs.registry import Kind, find_kind
from jobs.retry import Retry
from rest.log_batch import info_each

log = structlog.get_logger(__name__)


class Options(TypedDict, total=False):
    """Options of submit() and submit_many().

    user: the owner. run_at: the job does not start earlier; a past time means now. priority: higher first; by default 0
    for a user's job and OWN_PRIORITY for the project's own. timeout: seconds. timeout, max_attempts and retry default
    to the kind's.
    """

    user: User | None
    run_at: datetime | None
    priority: int
    timeout: int | None
    max_attempts: int | None
    retry: Retry | None


class SingleJobOptions(Options, total=False):
    """Options of submit(). unique_key: unique among the unfinished jobs of the user."""

    unique_key: str | None


def submit(kind: str, params: dict[str, Any] | None = None, **options: Unpack[SingleJobOptions]) -> Job:
    """Store a job and return it. A worker starts it when it is due.

    Raises jobs.registry.UnknownKind, rest_framework.serializers.ValidationError for bad params, and UniqueKeyTaken.
    """
    job = build(kind, params, **options)
    store(job)
    return job


def submit_many(kind: str, many_params: Iterable[dict[str, Any]], **options: Unpack[Options]) -> list[UUID]:
    """Store one job per params, all of one kind and with the same options; returns their ids.

    All or none. Raises like submit(); a ValidationError is keyed by the index of the invalid params. Raises TypeError
    for unique_key, which can belong to one job only.
    """
    if "unique_key" in options:
        raise TypeError("submit_many() takes no unique_key: submit() each job with its own")
    definition, valid = find_kind(kind), []
    for place, params in enumerate(many_params):
        try:
            valid.append(definition.validate_params(params))
        except ValidationError as error:
            raise ValidationError({str(place): error.detail}) from None
    if not valid:
        return []
    first = _job(definition, valid[0], **options)
    jobs = [first, *(first.copy(params) for params in valid[1:])]
    tracing.keep(job.pk for job in jobs)
    Job.objects.insert(jobs)
    notify([first])
    log.info("jobs_submitted", kind=kind, count=len(jobs))
    return [job.pk for job in jobs]


def build(kind: str, params: dict[str, Any] | None = None, **options: Unpack[SingleJobOptions]) -> Job:
    """The job that submit() would store, unsaved. Raises UnknownKind, ValidationError."""
    definition = find_kind(kind)
    return _job(definition, definition.validate_params({} if params is None else params), **options)


def store(job: Job) -> None:
    """Insert a job from build() and wake a worker. Raises UniqueKeyTaken."""
    tracing.keep([job.pk])
    if job.unique_key is None:
        Job.objects.insert([job])
    else:
        job.with_unique_key(partial(Job.objects.insert, [job]))
    notify([job])
    log.info("job_submitted", job_id=str(job.pk), kind=job.kind, status=job.status)


def store_many(jobs: Sequence[Job]) -> None:
    """store() for many jobs from build(), none with a unique_key, in one statement: all or none."""
    tracing.keep(job.pk for job in jobs)
    Job.objects.insert(jobs)
    notify(jobs)
    lines = [
        {"job_id": str(job.pk), "kind": job.kind, "status": job.status, "request_id": job.request_id} for job in jobs
    ]
    info_each(log, "job_submitted", lines)


def _job(definition: Kind, params: object, **options: Unpack[SingleJobOptions]) -> Job:
    run_at, retry = options.get("run_at"), options.get("retry")
    # The database's clock decides when a job is due, so it also decides whether run_at is in the future.
    now = timezone.now() if run_at is None else database_now()
    # A past run_at means now: unchanged, it would put this job before others that were submitted earlier.
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
        priority=options.get("priority", 0 if options.get("user") else OWN_PRIORITY),
        timeout=options.get("timeout") or definition.timeout,
        max_attempts=attempts,
        budget=attempts,
        backoff=retry and asdict(retry),
        unique_key=options.get("unique_key"),
        request_id=structlog.contextvars.get_contextvars().get("request_id", ""),
    )
