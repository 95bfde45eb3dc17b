"""The views of jobs: each validates the request, calls one domain method and returns the job's representation."""

from typing import Any, ClassVar, cast
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import status
from rest_framework.exceptions import NotFound
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs.api.filters import JobFilter
from jobs.api.openapi import JOB_REQUEST, BatchRequest
from jobs.api.params_schema import params_schema
from jobs.api.request_parsing import parse_job, store_batch
from jobs.api.serializers import (
    JOB_FIELDS,
    JSON_CHARACTERS,
    JobResponse,
    KindsResponse,
    job_etag,
    job_poll_headers,
    job_representation,
    job_row,
    job_url,
    represent_job,
)
from jobs.api.watching import hold_until_finished
from jobs.cancellation import cancel
from jobs.errors import AlreadyFinished, NotRestartable, UniqueKeyTaken
from jobs.models import Job, Output
from jobs.models.digest import RowDigest
from jobs.models.queryset import JobQuerySet
from jobs.models.states import TERMINAL, Status
from jobs.registry import Kind, kinds
from jobs.submit import store
from jobs.usage import unfinished_jobs
from rest.openapi.parts import (
    ETAG,
    IDEMPOTENCY_KEY,
    IF_NONE_MATCH,
    LOCATION,
    PREFER,
    PREFERENCE_APPLIED,
    REPLAYED,
    RETRY_AFTER,
)
from rest.requests.batch import BatchResponse, batch_response
from rest.requests.idempotency import idempotent
from rest.requests.strict import require_no_body
from rest.responses import Conflict, conditional, first_or_404
from rest.throttling import charge_items
from rest.watch.plans import VariesByPreference


class KindListView(APIView):
    @extend_schema(operation_id="job_kinds", responses=KindsResponse)
    def get(self, request: Request) -> Response:
        """The kinds of job that clients may post, with the JSON Schema of their params."""
        return Response({"results": [_kind_representation(kind) for kind in kinds() if not kind.internal]})


class JobListView(VariesByPreference, GenericAPIView[Any]):
    problems: ClassVar = {"POST": (409, 422)}
    filterset_class = JobFilter
    serializer_class = JobResponse
    row_characters = JSON_CHARACTERS

    def get_queryset(self) -> QuerySet[Any, dict[str, Any]]:
        return _owned(self.request).values(*JOB_FIELDS)

    @extend_schema(operation_id="jobs_list", responses=JobResponse(many=True))
    def get(self, request: Request) -> Response:
        """Your jobs, newest first."""
        page = self.paginate_queryset(self.filter_queryset(self.get_queryset())) or []
        return self.get_paginated_response([job_representation(row, request) for row in page])

    @extend_schema(
        operation_id="jobs_create",
        request=JOB_REQUEST,
        responses={202: JobResponse},
        parameters=[IDEMPOTENCY_KEY, REPLAYED, LOCATION, RETRY_AFTER, PREFER, PREFERENCE_APPLIED],
    )
    def post(self, request: Request) -> Response:
        """Accept a job. The response is sent once it is stored; the next free worker starts it."""
        response = self._stored(request)
        hold_until_finished(request, response, UUID(str(response.data["id"])))
        return response

    @idempotent
    def _stored(self, request: Request) -> Response:
        job = parse_job(cast("User", request.user), request.data)
        unfinished_jobs.take(request.user.pk)
        try:
            store(job)
        except UniqueKeyTaken as error:
            raise _key_conflict(error, request) from None
        return job_response(request, job, status.HTTP_202_ACCEPTED)


class BatchView(APIView):
    problems: ClassVar = {"POST": (409, 422)}

    @extend_schema(
        operation_id="jobs_batch",
        request=BatchRequest,
        responses={202: BatchResponse},
        parameters=[IDEMPOTENCY_KEY, REPLAYED],
    )
    @idempotent
    def post(self, request: Request) -> Response:
        """Accept up to 500 jobs. An invalid one does not affect the others; results are in the order of the jobs."""
        body = BatchRequest(data=request.data)
        body.is_valid(raise_exception=True)
        charge_items(request, len(body.validated_data["jobs"]))
        outcomes = store_batch(request, body.validated_data["jobs"])
        return batch_response(outcomes, lambda job_id: job_url(job_id, request))


class JobView(VariesByPreference):
    problems: ClassVar = {"DELETE": (409,)}

    @extend_schema(
        operation_id="jobs_read",
        responses={200: JobResponse, 304: None},
        parameters=[IF_NONE_MATCH, ETAG, RETRY_AFTER, PREFER, PREFERENCE_APPLIED],
    )
    def get(self, request: Request, job_id: UUID) -> HttpResponseBase:
        """One job. Until it has finished, prefer to wait, or poll after Retry-After seconds with If-None-Match."""
        row = first_or_404(_owned(request).filter(pk=job_id).values(*JOB_FIELDS, digest=RowDigest(*JOB_FIELDS)))
        digest = row.pop("digest")
        shown = job_representation(row, request)
        headers = {"ETag": job_etag(digest, shown)} | job_poll_headers(row)
        response = conditional(request, Response(shown, headers=headers))
        hold_until_finished(request, response, job_id)
        return response

    @extend_schema(operation_id="jobs_delete", responses={204: None})
    def delete(self, request: Request, job_id: UUID) -> Response:
        """Delete a finished job before its retention ends."""
        jobs = _owned(request).filter(pk=job_id)
        if not jobs.exists():
            raise NotFound
        if not jobs.filter(status__in=TERMINAL).delete()[0]:
            raise Conflict("The job has not finished; only finished jobs can be deleted.", "unfinished")
        Output.objects.filter(job_id=job_id).discard()
        return Response(status=status.HTTP_204_NO_CONTENT)


class CancellationView(APIView):
    problems: ClassVar = {"POST": (409,)}

    @extend_schema(
        operation_id="jobs_cancel",
        request=None,
        responses={200: JobResponse, 202: JobResponse},
        parameters=[LOCATION, RETRY_AFTER],
    )
    def post(self, request: Request, job_id: UUID) -> Response:
        """Cancel a job: at once (200) if it waits, soon (202) if it runs. Repeating it gives the same response."""
        job = _owned_job(request, job_id)
        require_no_body(request)
        try:
            cancel(job)
        except AlreadyFinished as error:
            raise Conflict(f"The {error}.", "already_finished") from None
        running = job.status == Status.RUNNING
        return job_response(request, job, status.HTTP_202_ACCEPTED if running else status.HTTP_200_OK)


class RetryListView(APIView):
    problems: ClassVar = {"POST": (409, 422)}

    @extend_schema(
        operation_id="jobs_retry",
        request=None,
        responses={202: JobResponse},
        parameters=[IDEMPOTENCY_KEY, REPLAYED, LOCATION, RETRY_AFTER],
    )
    @idempotent
    def post(self, request: Request, job_id: UUID) -> Response:
        """Queue a failed or cancelled job again. Its attempts keep counting, with a new budget of attempts."""
        job = _owned_job(request, job_id)
        require_no_body(request)
        unfinished_jobs.take(request.user.pk)
        try:
            job.restart()
        except NotRestartable as error:
            raise Conflict(f"The {error}.", "not_restartable") from None
        except UniqueKeyTaken as error:
            raise _key_conflict(error, request) from None
        return job_response(request, job, status.HTTP_202_ACCEPTED)


def _owned(request: Request) -> JobQuerySet:
    return Job.objects.filter(user=request.user.pk)


def _owned_job(request: Request, job_id: UUID) -> Job:
    """Raises NotFound. errors, which may be large, are loaded when the response needs them."""
    job: Job = first_or_404(_owned(request).filter(pk=job_id).defer("errors"))
    return job


def job_response(request: Request, job: Job, code: int) -> Response:
    """The response about a changed job, with Location, and Retry-After while it is unfinished."""
    url = job_url(job.pk, request)
    row = job_row(job)
    return Response(represent_job(row, url), status=code, headers={"Location": url} | job_poll_headers(row))


def _key_conflict(error: UniqueKeyTaken, request: Request) -> Conflict:
    return Conflict(f"{error}.".capitalize(), "unique_key_taken", Location=job_url(error.job_id, request))


def _kind_representation(kind: Kind) -> dict[str, Any]:
    return {
        "name": kind.name,
        "description": kind.description,
        "params_schema": params_schema(kind),
        "timeout": kind.timeout,
        "max_attempts": kind.retry.attempts,
        "queue": kind.queue,
        "remote": kind.remote,
    }
