"""The OpenAPI document: what drf-spectacular finds, and the problems that every call can answer."""

from drf_spectacular import openapi


class AutoSchema(openapi.AutoSchema):  # type: ignore[misc]
    pass
