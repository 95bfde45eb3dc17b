"""OpenAPI parameters for header fields that several resources share."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse

LOCATION = OpenApiParameter("Location", OpenApiTypes.URI, "header", response=[202], description="Where the job is.")
RETRY_AFTER = OpenApiParameter(
    "Retry-After", OpenApiTypes.INT, "header", response=[200, 202, 304], description="While unfinished: poll after it."
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
    description="`wait=20`: hold the response until there is news, at most so many seconds, and 30 (RFC 7240).",
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
    description="The same in the URL, for the first connection.",
)
EVENT_STREAM = {
    (200, "text/event-stream"): OpenApiResponse(
        OpenApiTypes.STR, description="Server-sent events; the data of each is a resource as its GET returns it."
    )
}
NOTHING_LEFT = {204: OpenApiResponse(description="You have the final state; do not reconnect.")}
