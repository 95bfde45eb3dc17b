"""The base class of request serializers: unknown fields are errors. And validating with less work than DRF."""

import threading
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


class _Instances(threading.local):
    """One serializer of each class, for this thread."""

    def __init__(self) -> None:
        self.by_class: dict[type[serializers.Serializer[Any]], serializers.Serializer[Any]] = {}


_instances = _Instances()


def validated(serializer: type[serializers.Serializer[Any]], data: object) -> dict[str, Any]:
    """The validated data. Raises ValidationError, as is_valid() does.

    DRF copies all fields for each instance, which takes longer than validating: here a thread reuses its instance.
    """
    instance = _instances.by_class.get(serializer)
    if instance is None:
        instance = _instances.by_class[serializer] = serializer(data=data)
    instance.initial_data = data
    try:
        found: dict[str, Any] = instance.run_validation(data)
    except serializers.ValidationError:
        fresh = serializer(data=data)
        fresh.is_valid(raise_exception=True)
        found = fresh.validated_data
    return found


@extend_schema_field({"type": ["array", "boolean", "number", "object", "string"]})
class AnyValueField(serializers.JSONField):
    """Any JSON value; null only with allow_null."""
