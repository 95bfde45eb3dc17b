"""The schema of POST jobs/: a variant for each kind, told apart by `kind`, with that kind's own params."""

import re
from typing import Any

from drf_spectacular.drainage import set_override
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema_field
from rest_framework import serializers
from rest_framework.serializers import Serializer

from jobs.api.serializers import JobRequest
from jobs.registry import Kind, NoParams, kinds
from rest.openapi.parts import example, named_examples
from rest.requests.batch import ItemsField
from rest.requests.strict import StrictSerializer

COUNTDOWN = {"kind": "demo.countdown", "params": {"seconds": 20}}
HTTP_REQUEST = {
    "kind": "http.request",
    "params": {"url": "https://example.org/hook", "method": "POST", "json": {"order": 17}},
    "run_at": "2030-01-01T09:00:00Z",
    "unique_key": "order-17",
}


def _variants() -> dict[str, Serializer[Any] | type[Serializer[Any]]]:
    """By kind, for kinds that clients may post. Called when the schema is made: all kinds are registered by then."""
    return {kind.name: _variant(kind) for kind in kinds() if not kind.internal}


def _variant(kind: Kind) -> type[JobRequest]:
    name = "".join(part.capitalize() for part in re.split(r"[^A-Za-z0-9]", kind.name))
    fields = {"__doc__": kind.description, "kind": _only(kind.name), "params": _params(kind, f"{name}Params")}
    return type(f"{name}Job", (JobRequest,), fields)


def _only(value: str) -> serializers.Field[Any, Any, Any, Any]:
    """A field with one possible value."""
    only: type[serializers.CharField] = type("Only", (serializers.CharField,), {})
    return extend_schema_field({"type": "string", "const": value})(only)()


@extend_schema_field({"type": "object", "additionalProperties": False})
class NoParamsField(serializers.JSONField):
    """The empty object."""


def _params(kind: Kind, name: str) -> serializers.Field[Any, Any, Any, Any]:
    """Required if any of the kind's params is required; otherwise null means the same as absent, as in JobRequest."""
    if kind.params is NoParams:
        return NoParamsField(required=False, allow_null=True)
    params: type[Serializer[Any]] = type(name, (kind.params,), {})
    needed = any(field.required for field in params().fields.values())
    return params() if needed else params(required=False, allow_null=True)


JOB_REQUEST = PolymorphicProxySerializer("JobRequest", _variants, resource_type_field_name="kind")
set_override(JOB_REQUEST, "examples", named_examples({"A countdown": COUNTDOWN, "An HTTP call later": HTTP_REQUEST}))


class JobItems(ItemsField):
    item = JOB_REQUEST


@example(jobs=[COUNTDOWN, HTTP_REQUEST])
class BatchRequest(StrictSerializer):
    """The body of POST jobs/batch/. Each job is validated by itself."""

    jobs = JobItems(min_length=1, max_length=500)
