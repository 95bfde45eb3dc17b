"""The base class of request serializers: unknown fields are errors."""

from collections.abc import Mapping
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers


class StrictSerializer(serializers.Serializer[Any]):
    """Reports unknown fields as errors; DRF would drop them silently."""

    def to_internal_value(self, data: Any) -> Any:
        unknown = set(data) - set(self.fields) if isinstance(data, Mapping) else set()
        if unknown:
            raise serializers.ValidationError(
                {
                    name: [serializers.ErrorDetail("Unknown field.", code="unknown")]
                    for name in sorted(map(str, unknown))
                }
            )
        return super().to_internal_value(data)


@extend_schema_field({})
class AnyValueField(serializers.JSONField):
    """Any JSON value, null included."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"allow_null": True})
