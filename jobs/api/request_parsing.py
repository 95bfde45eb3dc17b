"""From what a client sent to jobs: validated here, one by one; what is wrong is said in its own terms."""

from typing import cast

from django.contrib.auth.models import User
from django.db import transaction
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.request import Request

from jobs.api.serializers import JobRequest
from jobs.errors import UniqueKeyTaken
from jobs.models import Job
from jobs.registry import UnknownKind, find
from jobs.submit import prepare, store, store_many
from rest.field_errors import FieldError, flatten


def prepared(request: Request, data: object) -> Job:
    """A job as the client describes it, not stored yet; raises ValidationError."""
    body = JobRequest(data=data)
    body.is_valid(raise_exception=True)
    given = {name: value for name, value in body.validated_data.items() if value is not None}
    try:
        return prepare(_public(given.pop("kind")), given.pop("params", {}), user=cast("User", request.user), **given)
    except UnknownKind as error:
        raise ValidationError(
            {"kind": [ErrorDetail(f"There is no kind {error}; see job-kinds/.", "unknown")]}
        ) from None
    except ValidationError as error:
        raise ValidationError({"params": error.detail}) from None


def _public(kind: str) -> str:
    """The kind's name; raises UnknownKind for an internal one as for one that there is not."""
    if find(kind).internal:
        raise UnknownKind(kind)
    return kind


def accepted(request: Request, items: list[object]) -> list[Job | list[FieldError]]:
    """Each item as a stored job, or what is wrong with it; one bad one does not sink the rest.

    What is stored is stored in one transaction: a client that is answered with an error may send all of it again.
    """
    outcomes: list[Job | list[FieldError]] = [_prepared_or_errors(request, item) for item in items]
    jobs = [job for job in outcomes if isinstance(job, Job)]
    with transaction.atomic():
        store_many([job for job in jobs if job.unique_key is None])
        taken = {job.pk: errors for job in _by_key(jobs) if (errors := _key_errors(job))}
    return [taken.get(outcome.pk, outcome) if isinstance(outcome, Job) else outcome for outcome in outcomes]


def _prepared_or_errors(request: Request, item: object) -> Job | list[FieldError]:
    try:
        return prepared(request, item)
    except ValidationError as error:
        return list(flatten(error.detail))


def _by_key(jobs: list[Job]) -> list[Job]:
    """Those with a unique_key, in one order for all batches, so that no two of them ever wait for each other's keys."""
    return sorted((job for job in jobs if job.unique_key is not None), key=lambda job: str(job.unique_key))


def _key_errors(job: Job) -> list[FieldError]:
    try:
        store(job)
    except UniqueKeyTaken as error:
        return [FieldError(field="unique_key", code="conflict", detail=f"An unfinished job has it: {error}.")]
    return []
