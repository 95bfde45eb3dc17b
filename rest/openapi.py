"""OpenAPI parameters for header fields that several resources share."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

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
