"""Request and response bodies of jobs. job_representation() makes the output; response serializers are for OpenAPI."""

from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from jobs.models import Job
from jobs.models.attempt_errors import AttemptError
from jobs.models.states import TERMINAL, Status
from jobs.priorities import HIGHEST, LOWEST
from jobs.sealing import shown_params
from rest.openapi.parts import ORIGIN, UUID_EXAMPLE, example
from rest.pagination import characters_of
from rest.requests.fields import IntegerField, StringField, TimeField
from rest.requests.strict import AnyValueField, StrictSerializer
from rest.responses import etag, poll_headers
from rest.site import Site

NOT_PUBLIC = "The job failed; its operators can see why."
JOB_FIELDS = (
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
    "output",
)
"""The columns that job_representation() reads, for .values()."""

LARGE_FIELDS = ("params", "result", "errors")
"""The columns that may be large: JSON."""
JSON_CHARACTERS = characters_of(*LARGE_FIELDS)


@extend_schema_field({"type": "object", "additionalProperties": True})
class AnyObjectField(serializers.JSONField):
    """Any JSON object."""


class JobRequest(StrictSerializer):
    """The body of POST jobs/. Only kind is required; null means the same as absent."""

    kind = StringField(min_length=1, max_length=100)
    params = AnyObjectField(required=False, allow_null=True)
    run_at = TimeField(required=False, allow_null=True)
    priority = IntegerField(required=False, allow_null=True, min_value=LOWEST, max_value=HIGHEST)
    timeout = IntegerField(required=False, allow_null=True, min_value=1, max_value=86_400)
    max_attempts = IntegerField(required=False, allow_null=True, min_value=1, max_value=1000)
    unique_key = StringField(required=False, allow_null=True, min_length=1, max_length=255)


@example(percent=40, message="12 s left")
class ProgressResponse(serializers.Serializer[Any]):
    percent = serializers.FloatField(min_value=0, max_value=100)
    message = serializers.CharField(allow_blank=True)


@example(type="TransientError", message="attempt 1 was asked to fail")
class ErrorResponse(serializers.Serializer[Any]):
    """Why an attempt failed. at: when it ended."""

    type = serializers.CharField()
    message = serializers.CharField(allow_blank=True)
    attempt = serializers.IntegerField()
    at = serializers.DateTimeField()


class AttemptErrorResponse(ErrorResponse):
    """One failed attempt, from started_at, null if that is not known, to at."""

    started_at = serializers.DateTimeField(allow_null=True)


@example(
    url=f"{ORIGIN}/api/v1/jobs/{UUID_EXAMPLE}/output/",
    filename="report.csv",
    content_type="text/csv; charset=utf-8",
    size=1234,
)
class OutputResponse(serializers.Serializer[Any]):
    """The file that the job has produced. size: bytes."""

    url = serializers.URLField()
    filename = serializers.CharField()
    content_type = serializers.CharField()
    size = serializers.IntegerField(min_value=0)


@example(
    url=f"{ORIGIN}/api/v1/jobs/{UUID_EXAMPLE}/",
    kind="demo.countdown",
    params={"seconds": 20},
    status="running",
    attempt=1,
    max_attempts=3,
    priority=0,
    timeout=4200,
    started_at="2026-03-01T12:00:00.012345Z",
    errors=[],
    output=None,
)
class JobResponse(serializers.Serializer[Any]):
    """A job, as its owner sees it."""

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
    result = AnyValueField()
    error = ErrorResponse(allow_null=True)
    errors = AttemptErrorResponse(many=True)  # type: ignore[assignment]
    cancel_requested = serializers.BooleanField()
    output = OutputResponse(allow_null=True)


@example(
    name="demo.countdown",
    description="Count seconds and report progress; the first attempts fail if asked to.",
    params_schema={
        "type": "object",
        "properties": {"seconds": {"type": "integer", "minimum": 0, "maximum": 3600}},
        "required": ["seconds"],
    },
    timeout=4200,
    max_attempts=3,
    queue="default",
)
class KindResponse(serializers.Serializer[Any]):
    """A kind of job that clients may post."""

    name = serializers.CharField()
    description = serializers.CharField(allow_blank=True)
    params_schema = AnyObjectField(help_text="JSON Schema of params.")
    timeout = serializers.IntegerField(min_value=1)
    max_attempts = serializers.IntegerField(allow_null=True)
    queue = serializers.CharField()
    remote = serializers.BooleanField(help_text="Run by programs of yours (leases/), not by us.")


class KindsResponse(serializers.Serializer[Any]):
    results = KindResponse(many=True)


def job_representation(row: dict[str, Any], request: Site) -> dict[str, Any]:
    """A row of JOB_FIELDS as JobResponse, without tracebacks."""
    return represent_job(row, job_url(row["id"], request))


def represent_job(row: dict[str, Any], url: str) -> dict[str, Any]:
    """job_representation() where the job's URL is known and no request is at hand."""
    errors: list[AttemptError] = row["errors"]
    shown = {
        "params": shown_params(row["params"]),
        "errors": [public_error(error) | {"started_at": error.get("started_at")} for error in errors],
        "error": public_error(errors[-1]) if row["status"] == Status.FAILED and errors else None,
        "output": represent_output(row, url),
    }
    return {"id": row["id"], "url": url} | row | shown


def represent_output(row: dict[str, Any], url: str) -> dict[str, Any] | None:
    """The file of a succeeded job; None if there is none, or only one of an earlier attempt. url: the job's."""
    file = row["output"]
    if not file or row["status"] != Status.SUCCEEDED or file["attempt"] != row["attempt"]:
        return None
    return {"url": f"{url}output/", **{name: file[name] for name in ("filename", "content_type", "size")}}


def job_row(job: Job) -> dict[str, Any]:
    """A row of JOB_FIELDS."""
    return {name: getattr(job, name) for name in JOB_FIELDS}


def public_error(error: AttemptError) -> dict[str, Any]:
    """Without the traceback, and with the message only if it was written for the job's owner."""
    message = error["message"] if error.get("public") else NOT_PUBLIC
    return {"type": error["type"], "message": message, "attempt": error["attempt"], "at": error["at"]}


def job_url(job_id: object, request: Site) -> str:
    return request.build_absolute_uri(reverse("job", args=[job_id]))


def job_etag(digest: str | None, shown: dict[str, Any]) -> str:
    """digest: the RowDigest of JOB_FIELDS; None if the database cannot compute it. shown: job_representation()."""
    return f'"{digest}"' if digest else etag(shown)


def job_poll_headers(row: dict[str, Any]) -> dict[str, str]:
    """Retry-After for a row of JOB_FIELDS, until the job has finished."""
    due_at = row["run_at"] if row["status"] == Status.SCHEDULED else None
    return poll_headers(row["created_at"], due_at, finished=row["status"] in TERMINAL)
