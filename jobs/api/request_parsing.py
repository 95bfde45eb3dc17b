"""Turns a request body into unsaved jobs: validates each and reports errors by the client's field names."""

from functools import partial
from typing import cast

from django.contrib.auth.models import User
from django.db import transaction
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from jobs.api.serializers import JobRequest
from jobs.errors import UniqueKeyTaken
from jobs.models import Job
from jobs.registry import UnknownKind, find_kind
from jobs.submit import build, store, store_many
from jobs.usage import unfinished_jobs
from rest.requests.batch import parse_each
from rest.requests.field_errors import FieldError
from rest.requests.strict import validated


def parse_job(user: User, data: object) -> Job:
    """The job that this user's body describes, not stored yet. Raises ValidationError."""
    given = {name: value for name, value in validated(JobRequest, data).items() if value is not None}
    try:
        kind = find_kind(given.pop("kind"))
        if kind.internal:
            raise UnknownKind(kind.name)
        return build(kind.name, given.pop("params", {}), user=user, **given)
    except UnknownKind as error:
        raise ValidationError(
            {"kind": [ErrorDetail(f"There is no kind {error}; see job-kinds/.", "unknown")]}
        ) from None
    except ValidationError as error:
        raise ValidationError({"params": error.detail}) from None


def store_batch(request: Request, items: list[object]) -> list[Job | list[FieldError]]:
    """Store each valid item; per item the job or its errors, in order. Raises QuotaExceeded, Full.

    One transaction stores all of them, so a client that gets an error response may send the whole batch again.
    """
    outcomes = parse_each(items, partial(parse_job, cast("User", request.user)))
    jobs = [job for job in outcomes if isinstance(job, Job)]
    unfinished_jobs.take(request.user.pk, len(jobs))
    with transaction.atomic():
        store_many([job for job in jobs if job.unique_key is None])
        taken = {job.pk: errors for job in _by_key(jobs) if (errors := _key_errors(job))}
    return [taken.get(outcome.pk, outcome) if isinstance(outcome, Job) else outcome for outcome in outcomes]


def _by_key(jobs: list[Job]) -> list[Job]:
    """Jobs with a unique_key, sorted by it: two concurrent batches take keys in the same order and cannot deadlock."""
    return sorted((job for job in jobs if job.unique_key is not None), key=lambda job: str(job.unique_key))


def _key_errors(job: Job) -> list[FieldError]:
    try:
        store(job)
    except UniqueKeyTaken as error:
        return [FieldError(field="unique_key", code="conflict", detail=f"{error}.".capitalize())]
    return []
