"""OpenAPI parameters that several views of mail share."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

CREATED = OpenApiParameter(
    "Location", OpenApiTypes.URI, "header", response=[201], description="The URL of what was created."
)
REPLAYED_CREATED = OpenApiParameter(
    "Idempotency-Replayed",
    OpenApiTypes.BOOL,
    "header",
    response=[200, 201],
    description="true: this is the stored answer to an earlier request.",
)
