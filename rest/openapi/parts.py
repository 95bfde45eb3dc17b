"""OpenAPI parts that several resources share: header fields as parameters, and examples of serializers."""

from collections.abc import Callable
from typing import Any, TypeVar

from drf_spectacular.drainage import get_override
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, OpenApiResponse, extend_schema_serializer
from rest_framework import serializers

Serializer = TypeVar("Serializer", bound=type[serializers.BaseSerializer[Any]])

ORIGIN = "https://legwork.example.org"
UUID_EXAMPLE = "019ac3f1-8f3e-7c21-9d2b-6f0d1c2b3a49"
EXAMPLE = "x-example"
"""The key of a component's schema that holds the values given to @example, until rest/openapi/examples.py uses them."""


def example(**values: Any) -> Callable[[Serializer], Serializer]:
    """Decorator of a serializer: values for the example of its JSON, besides those of its base class.

    rest/openapi/examples.py adds the fields left out.
    """

    def decorate(serializer: Serializer) -> Serializer:
        inherited = get_override(serializer, "extensions", {}).get(EXAMPLE, {})
        return extend_schema_serializer(extensions={EXAMPLE: inherited | values})(serializer)

    return decorate


def named_examples(examples: dict[str, Any]) -> list[OpenApiExample]:
    """Examples that are complete as they are, by name."""
    return [OpenApiExample(name, value=value) for name, value in examples.items()]


LOCATION = OpenApiParameter("Location", OpenApiTypes.URI, "header", response=[202], description="Where the job is.")
RETRY_AFTER = OpenApiParameter(
    "Retry-After",
    OpenApiTypes.INT,
    "header",
    response=[200, 202, 304],
    description="While unfinished: seconds until the next poll.",
)
ETAG = OpenApiParameter("ETag", OpenApiTypes.STR, "header", response=[200, 304], description="For If-None-Match.")
CONTENT_DISPOSITION = OpenApiParameter(
    "Content-Disposition", OpenApiTypes.STR, "header", response=[200], description="The file's name (RFC 6266)."
)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    OpenApiTypes.STR,
    "header",
    description="Repeating a key within 24 h returns the stored response and does nothing else.",
)
REPLAYED = OpenApiParameter(
    "Idempotency-Replayed", OpenApiTypes.BOOL, "header", response=[202], description="This is the stored response."
)
IF_NONE_MATCH = OpenApiParameter("If-None-Match", OpenApiTypes.STR, "header", description="The ETag of your copy.")
PREFER = OpenApiParameter(
    "Prefer",
    OpenApiTypes.STR,
    "header",
    description="`wait=20`: hold the response until there is news, but at most 20 seconds; 30 is the most (RFC 7240).",
)
PREFERENCE_APPLIED = OpenApiParameter(
    "Preference-Applied",
    OpenApiTypes.STR,
    "header",
    response=[200, 201, 202, 204, 304],
    description="The response was held.",
)
LAST_EVENT_ID = OpenApiParameter(
    "Last-Event-ID",
    OpenApiTypes.STR,
    "header",
    description="The id of the last event that you have; events after it are sent. Comes before `after`.",
)
AFTER = OpenApiParameter(
    "after",
    {"type": "integer", "format": "int64", "minimum": 0},
    description="Like Last-Event-ID, but in the URL: for the first connection.",
)
EVENT_STREAM = {
    (200, "text/event-stream"): OpenApiResponse(
        OpenApiTypes.STR, description="Server-sent events; the data of each is a resource as its GET returns it."
    )
}
NOTHING_LEFT = {204: OpenApiResponse(description="You have the final state; do not reconnect.")}
