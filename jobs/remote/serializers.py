"""Request and response bodies of leases. lease_representation() makes the output; responses here are for OpenAPI."""

from typing import Any

from django.urls import reverse
from rest_framework import serializers
from rest_framework.request import Request

from jobs.api.serializers import JOB_FIELDS, JobResponse, job_representation
from jobs.errors import JobError, PermanentError, RetryAfter, TransientError
from jobs.models import Job
from jobs.registry import kinds
from jobs.remote.lease_id import LeaseId
from jobs.retry import MAX_WAIT
from jobs.worker.attempts.outcome import MESSAGE_LIMIT
from rest.json_value import NotStorable, to_json
from rest.requests.fields import BooleanField, ListField, NumberField, StringField
from rest.requests.strict import AnyValueField, StrictSerializer

MAX_KINDS = 100


def _remote_kinds() -> list[str]:
    return [kind.name for kind in kinds() if kind.remote and not kind.internal]


class KindsField(ListField):
    """Names of remote kinds."""

    def __init__(self, **options: Any) -> None:
        super().__init__(child=StringField(max_length=100), min_length=1, max_length=MAX_KINDS, **options)

    def to_internal_value(self, data: Any) -> list[str]:
        names: list[str] = super().to_internal_value(data)
        known = _remote_kinds()
        if unknown := sorted(set(names) - set(known)):
            detail = f"Not a remote kind: {', '.join(unknown[:3])}. Remote kinds: {', '.join(known)}."
            raise serializers.ValidationError(detail, "unknown")
        return sorted(set(names))


class LeaseRequest(StrictSerializer):
    """The body of POST leases/. worker: the device's name, unique among the user's devices."""

    worker = StringField(min_length=1, max_length=100)
    kinds = KindsField()


class ProgressRequest(StrictSerializer):
    percent = NumberField(min_value=0, max_value=100)
    message = StringField(max_length=200, allow_blank=True, default="")


class RenewalRequest(StrictSerializer):
    """The body of PATCH leases/{id}/."""

    progress = ProgressRequest(required=False)


class SuccessRequest(StrictSerializer):
    """The body of POST leases/{id}/success/."""

    result = AnyValueField(allow_null=True, default=None)

    def validate_result(self, value: object) -> object:
        try:
            return to_json(value)
        except NotStorable as error:
            raise serializers.ValidationError(f"This {error}.", "unstorable") from None


class FailureRequest(StrictSerializer):
    """The body of POST leases/{id}/failure/. retry_after: seconds, in place of the kind's backoff."""

    message = StringField(min_length=1, max_length=MESSAGE_LIMIT)
    permanent = BooleanField(default=False)
    retry_after = NumberField(min_value=0, max_value=MAX_WAIT, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if attrs["permanent"] and "retry_after" in attrs:
            raise serializers.ValidationError({"retry_after": "A permanent failure is not repeated."})
        return attrs

    def error(self) -> JobError:
        """The error that a local handler would have raised."""
        report = self.validated_data
        if report["permanent"]:
            return PermanentError(report["message"])
        if "retry_after" in report:
            return RetryAfter(report["retry_after"], report["message"])
        return TransientError(report["message"])


class LeaseResponse(serializers.Serializer[Any]):
    """A lease and its job. Report or renew before expires_at."""

    id = serializers.CharField()
    url = serializers.URLField()
    worker = serializers.CharField()
    expires_at = serializers.DateTimeField()
    job = JobResponse()


class RenewalResponse(serializers.Serializer[Any]):
    expires_at = serializers.DateTimeField()
    cancel_requested = serializers.BooleanField(help_text="Stop, and report a failure: the job is then cancelled.")


def lease_representation(job: Job, request: Request) -> dict[str, Any]:
    row = {name: getattr(job, name) for name in JOB_FIELDS}
    return {
        "id": str(LeaseId.of(job)),
        "url": lease_url(job, request),
        "worker": job.worker,
        "expires_at": job.lease_expires_at,
        "job": job_representation(row, request),
    }


def lease_url(job: Job, request: Request) -> str:
    return request.build_absolute_uri(reverse("lease", args=[LeaseId.of(job)]))
