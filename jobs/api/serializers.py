"""What comes in and goes out: input is validated here; output is a plain function, with serializers for the schema."""

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request

from jobs.models.attempt_errors import AttemptError
from jobs.models.states import Status
from rest.strict import AnyValueField, StrictSerializer

SHOWN = (
    "id",
    "kind",
    "params",
    "status",
    "progress",
    "attempt",
    "max_attempts",
    "priority",
    "timeout",
    "unique_key",
    "run_at",
    "created_at",
    "started_at",
    "finished_at",
    "result",
    "errors",
    "cancel_requested",
)
"""The columns that representation() needs, for .values()."""


@extend_schema_field({"type": "object", "additionalProperties": True})
class AnyObjectField(serializers.JSONField):
    """A JSON object of any content."""


class JobRequest(StrictSerializer):
    """The body of POST jobs/. Only kind is required; null means the same as leaving out."""

    kind = serializers.CharField(min_length=1, max_length=100)
    params = AnyObjectField(required=False, allow_null=True)
    run_at = serializers.DateTimeField(required=False, allow_null=True)
    priority = serializers.IntegerField(required=False, allow_null=True, min_value=-100, max_value=100)
    timeout = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=86_400)
    max_attempts = serializers.IntegerField(required=False, allow_null=True, min_value=1, max_value=1000)
    unique_key = serializers.CharField(required=False, allow_null=True, min_length=1, max_length=255)


class BatchRequest(StrictSerializer):
    """The body of POST jobs/batch/; each job is judged by itself."""

    jobs = serializers.ListField(child=AnyValueField(allow_null=True), min_length=1, max_length=500)


class FieldErrorResponse(serializers.Serializer[Any]):
    field = serializers.CharField(allow_blank=True)
    code = serializers.CharField()
    detail = serializers.CharField()


class BatchResult(serializers.Serializer[Any]):
    """id and url of an accepted job, or the errors of a refused one."""

    id = serializers.UUIDField(required=False)
    url = serializers.URLField(required=False)
    errors = FieldErrorResponse(many=True, required=False)  # type: ignore[assignment]


class BatchResponse(serializers.Serializer[Any]):
    results = BatchResult(many=True)
    accepted = serializers.IntegerField(min_value=0)
    refused = serializers.IntegerField(min_value=0)


class ProgressResponse(serializers.Serializer[Any]):
    percent = serializers.FloatField(min_value=0, max_value=100)
    message = serializers.CharField(allow_blank=True)


class ErrorResponse(serializers.Serializer[Any]):
    """One failed attempt."""

    type = serializers.CharField()
    message = serializers.CharField(allow_blank=True)
    attempt = serializers.IntegerField()
    at = serializers.DateTimeField()


class JobResponse(serializers.Serializer[Any]):
    """A job as its owner sees it."""

    id = serializers.UUIDField()
    url = serializers.URLField()
    kind = serializers.CharField()
    params = AnyObjectField()
    status = serializers.ChoiceField(Status.choices)
    progress = ProgressResponse()
    attempt = serializers.IntegerField(min_value=0)
    max_attempts = serializers.IntegerField(allow_null=True)
    priority = serializers.IntegerField()
    timeout = serializers.IntegerField(min_value=1)
    unique_key = serializers.CharField(allow_null=True)
    run_at = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    finished_at = serializers.DateTimeField(allow_null=True)
    result = AnyValueField(allow_null=True)
    error = ErrorResponse(allow_null=True)
    errors = ErrorResponse(many=True)  # type: ignore[assignment]
    cancel_requested = serializers.BooleanField()


class KindResponse(serializers.Serializer[Any]):
    """A kind of job that may be posted."""

    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    params_schema = AnyObjectField(help_text="JSON Schema of params.")
    timeout = serializers.IntegerField(min_value=1)
    max_attempts = serializers.IntegerField(allow_null=True)
    queue = serializers.CharField()


class KindsResponse(serializers.Serializer[Any]):
    results = KindResponse(many=True)


def representation(row: dict[str, Any], request: Request) -> dict[str, Any]:
    """A row of SHOWN columns as its owner sees it: JobResponse. Tracebacks stay behind."""
    errors = [public_error(error) for error in row["errors"]]
    return (
        {"id": row["id"], "url": url_of(row["id"], request)}
        | row
        | {
            "errors": errors,
            "error": errors[-1] if row["status"] == Status.FAILED and errors else None,
        }
    )


def public_error(error: AttemptError) -> dict[str, Any]:
    return {"type": error["type"], "message": error["message"], "attempt": error["attempt"], "at": error["at"]}


def url_of(job_id: object, request: Request) -> str:
    return request.build_absolute_uri(reverse("job", args=[job_id]))
