"""The way in: a job is validated, then stored, and from then on it is not lost."""

from contextlib import suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any

import structlog
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone
from rest_framework.exceptions import ValidationError

from jobs.errors import UniqueKeyTaken
from jobs.json_value import NotStorable, json_value
from jobs.models import Job
from jobs.registry import find
from jobs.retry import Retry
from jobs.states import Status

log = structlog.get_logger(__name__)


def submit(
    kind: str,
    params: dict[str, Any] | None = None,
    *,
    user: User | None = None,
    run_at: datetime | None = None,
    priority: int = 0,
    timeout: int | None = None,
    max_attempts: int | None = None,
    unique_key: str | None = None,
    retry: Retry | None = None,
) -> Job:
    """Store a job and return it; a worker starts it when it is due.

    timeout: seconds; timeout, max_attempts and retry default to the kind's. Raises jobs.registry.UnknownKind,
    rest_framework.serializers.ValidationError for bad params, and UniqueKeyTaken.
    """
    definition = find(kind)
    stored = _stored({} if params is None else params)
    definition.check(stored)
    now = timezone.now()
    attempts = max_attempts or (retry or definition.retry).attempts
    job = Job(
        kind=kind,
        params=stored,
        user=user,
        queue=definition.queue,
        status=Status.SCHEDULED if run_at and run_at > now else Status.QUEUED,
        run_at=run_at or now,
        created_at=now,
        priority=priority,
        timeout=timeout or definition.timeout,
        max_attempts=attempts,
        budget=attempts,
        backoff=retry and asdict(retry),
        unique_key=unique_key,
        request_id=structlog.contextvars.get_contextvars().get("request_id", ""),
    )
    _store(job)
    log.info("job_submitted", job_id=str(job.pk), kind=kind, status=job.status)
    return job


def _stored(params: object) -> object:
    try:
        return json_value(params)
    except NotStorable as error:
        raise ValidationError(f"This {error}.", "unstorable") from None


def _store(job: Job) -> None:
    """Insert the row; the database decides whether its unique_key is free. Its holder may finish meanwhile: again."""
    while True:
        try:
            with transaction.atomic():
                job.save(force_insert=True)
        except IntegrityError:
            if job.unique_key is None:
                raise
            with suppress(Job.DoesNotExist):
                raise UniqueKeyTaken(job.unique_key_holder().pk) from None
        else:
            return
