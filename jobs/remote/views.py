"""The views of leases: each validates the request, calls one domain verb and returns the lease or its job."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

from django.http import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema
from rest_framework import status
from rest_framework.exceptions import APIException, NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from jobs.api.serializers import JobResponse
from jobs.api.views import job_response
from jobs.errors import LeaseLost
from jobs.models import Job
from jobs.remote import leases
from jobs.remote.lease_id import PATTERN, LeaseId, NoSuchLease
from jobs.remote.serializers import (
    FailureRequest,
    LeaseRequest,
    LeaseResponse,
    RenewalRequest,
    RenewalResponse,
    SuccessRequest,
    lease_representation,
    lease_url,
)
from jobs.remote.waiting import LeaseWait
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
from rest.requests.idempotency import idempotent
from rest.requests.strict import StrictSerializer
from rest.responses import Conflict, conditional, etag
from rest.watch.plans import VariesByPreference
from routers import use_primary

LEASE = OpenApiParameter("lease_id", str, OpenApiParameter.PATH, pattern=f"^{PATTERN.pattern}$")
LEASE_LOCATION = OpenApiParameter("Location", str, "header", response=[201], description="Where the lease is.")
NOTHING_DUE = OpenApiResponse(description="Nothing is due.")


class Gone(APIException):
    """410: the lease is over, and the request changed nothing."""

    status_code = status.HTTP_410_GONE
    default_code = "lease_lost"
    default_detail = "This lease has expired or its attempt has ended; lease another job."


class LeaseListView(VariesByPreference):
    problems: ClassVar = {"POST": (409, 422)}

    @extend_schema(
        operation_id="leases_create",
        request=LeaseRequest,
        responses={201: LeaseResponse, 204: NOTHING_DUE},
        parameters=[IDEMPOTENCY_KEY, REPLAYED, LEASE_LOCATION, PREFER, PREFERENCE_APPLIED],
    )
    def post(self, request: Request) -> Response:
        """Lease your best due job of these remote kinds; 409 with the lease that this worker already holds.

        With `Prefer: wait` the response is held until a job is due.
        """
        body = _valid(LeaseRequest(data=request.data))
        response = self._leased(request, body)
        if response.status_code == status.HTTP_204_NO_CONTENT:
            LeaseWait(_user_id(request), body["kinds"], lambda: self._leased(request, body)).hold(request, response)
        return response

    @idempotent
    def _leased(self, request: Request, body: dict[str, Any]) -> Response:
        try:
            job = leases.lease_next(_user_id(request), body["worker"], body["kinds"])
        except leases.WorkerBusy as error:
            raise Conflict(f"{error}.".capitalize(), Location=lease_url(error.job, request)) from None
        if job is None:
            return Response(status=status.HTTP_204_NO_CONTENT)
        headers = {"Location": lease_url(job, request)}
        return Response(lease_representation(job, request), status=status.HTTP_201_CREATED, headers=headers)


class LeaseView(APIView):
    problems: ClassVar = {"GET": (410,), "PATCH": (410,)}

    @extend_schema(
        operation_id="leases_read", responses={200: LeaseResponse, 304: None}, parameters=[LEASE, IF_NONE_MATCH, ETAG]
    )
    def get(self, request: Request, lease_id: str) -> HttpResponseBase:
        """A lease that is held; 410 once it is lost or finished."""
        with _lease_errors(), use_primary():
            job = leases.find_lease(_user_id(request), LeaseId.parse(lease_id))
        shown = lease_representation(job, request)
        return conditional(request, Response(shown, headers={"ETag": etag(shown)}))

    @extend_schema(operation_id="leases_renew", request=RenewalRequest, responses=RenewalResponse, parameters=[LEASE])
    def patch(self, request: Request, lease_id: str) -> Response:
        """Renew a lease, report progress, and learn whether the job's cancellation was requested."""
        body = _valid(RenewalRequest(data=request.data))
        with _lease_errors():
            job = leases.renew(_user_id(request), LeaseId.parse(lease_id), body.get("progress"))
        return Response({"expires_at": job.lease_expires_at, "cancel_requested": job.cancel_requested})


class SuccessView(APIView):
    problems: ClassVar = {"POST": (410,)}

    @extend_schema(
        operation_id="leases_succeed", request=SuccessRequest, responses=JobResponse, parameters=[LEASE, LOCATION]
    )
    def post(self, request: Request, lease_id: str) -> Response:
        """Finish the job with a result. Repeating the same report gives the same response."""
        body = _valid(SuccessRequest(data=request.data))
        with _lease_errors():
            job = leases.succeed(_user_id(request), LeaseId.parse(lease_id), body["result"])
        return _reported(request, job)


class FailureView(APIView):
    problems: ClassVar = {"POST": (410,)}

    @extend_schema(
        operation_id="leases_fail",
        request=FailureRequest,
        responses=JobResponse,
        parameters=[LEASE, LOCATION, RETRY_AFTER],
    )
    def post(self, request: Request, lease_id: str) -> Response:
        """End the attempt with an error: the job is retried, fails, or is cancelled if that was requested."""
        report = FailureRequest(data=request.data)
        _valid(report)
        with _lease_errors():
            job = leases.fail(_user_id(request), LeaseId.parse(lease_id), report.error())
        return _reported(request, job)


@contextmanager
def _lease_errors() -> Iterator[None]:
    try:
        yield
    except NoSuchLease:
        raise NotFound from None
    except LeaseLost:
        raise Gone from None


def _reported(request: Request, job: Job) -> Response:
    job.refresh_from_db()
    return job_response(request, job, status.HTTP_200_OK)


def _valid(body: StrictSerializer) -> dict[str, Any]:
    body.is_valid(raise_exception=True)
    valid: dict[str, Any] = body.validated_data
    return valid


def _user_id(request: Request) -> int:
    return int(request.user.pk)  # type: ignore[arg-type]  # the API is for users only
