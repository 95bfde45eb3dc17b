"""The base class of request serializers: unknown fields are errors. Also validates with less work than DRF."""

import threading
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.settings import api_settings

NAMED_UNKNOWN = 5
"""Unknown fields that are named; further ones are counted."""


class StrictSerializer(serializers.Serializer[Any]):
    """Reports unknown fields as errors; DRF would drop them silently."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping) and not data.keys() <= self.fields.keys():
            raise serializers.ValidationError(unknown_names(data, self.fields.keys(), "field"))
        return super().to_internal_value(data)


def unknown_names(
    given: Collection[Any], allowed: Collection[str], what: str
) -> dict[str, list[serializers.ErrorDetail]]:
    """Errors for the first given names that are not allowed, and one that counts the others. what: field, …"""
    unknown = [name for name in given if name not in allowed]
    choice = f"Allowed: {', '.join(allowed)}." if allowed else "None is allowed here."
    errors = {
        str(name): [serializers.ErrorDetail(f"Unknown {what}. {choice}", code="unknown")]
        for name in islice(unknown, NAMED_UNKNOWN)
    }
    if more := len(unknown) - len(errors):
        errors[api_settings.NON_FIELD_ERRORS_KEY] = [
            serializers.ErrorDetail(f"There are {more} more unknown {what}s.", code="unknown")
        ]
    return errors


class NoBody(StrictSerializer):
    """The body of a POST that takes none: absent, or an empty object."""


def require_no_body(request: Request) -> None:
    """Raises ValidationError for anything but an absent body or an empty object."""
    NoBody(data=request.data).is_valid(raise_exception=True)


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


@extend_schema_field({})
class AnyValueField(serializers.JSONField):
    """Any JSON value, null included."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options | {"allow_null": True})
