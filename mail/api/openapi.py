"""The header fields of mail's resources that are created at once, as the OpenAPI document tells of them."""

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter

ADDRESS = OpenApiParameter(
    "address", OpenApiTypes.EMAIL, "path", description="Percent-encoded; upper and lower case are the same."
)
CREATED = OpenApiParameter("Location", OpenApiTypes.URI, "header", response=[201], description="Where it is.")
REPLAYED_CREATED = OpenApiParameter(
    "Idempotency-Replayed", OpenApiTypes.BOOL, "header", response=[200, 201], description="This is the stored answer."
)
