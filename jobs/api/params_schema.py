"""The JSON Schema of a kind's params (2020-12, the dialect of OpenAPI 3.1), generated from its serializer."""

from functools import cache
from typing import Any

from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from rest_framework.generics import GenericAPIView
from rest_framework.request import Request
from rest_framework.response import Response

from jobs.registry import Kind
from rest.openapi.schema import AutoSchema, generating

JSON = "application/json"
NO_PARAMS = {"additionalProperties": False}
"""drf-spectacular leaves out the body of a serializer without fields."""


def params_schema(kind: Kind) -> dict[str, Any]:
    """A self-contained JSON Schema of an object: references to shared components are replaced by their content."""
    with generating:
        return _generated(kind)


@cache
def _generated(kind: Kind) -> dict[str, Any]:
    document = _document(kind)
    body = document["paths"]["/params/"]["post"].get("requestBody", {"content": {JSON: {"schema": NO_PARAMS}}})
    components = document.get("components", {}).get("schemas", {})
    schema: dict[str, Any] = _inlined(body["content"][JSON]["schema"], components)
    return {"type": "object", "properties": {}} | schema


def _document(kind: Kind) -> dict[str, Any]:
    """The OpenAPI document of a view whose request body is these params."""

    class View(GenericAPIView[Any]):
        schema = AutoSchema()
        authentication_classes = ()
        serializer_class = kind.params

        def post(self, request: Request) -> Response:
            raise NotImplementedError

    generator: Any = SchemaGenerator
    document: dict[str, Any] = generator(patterns=[path("params/", View.as_view())]).get_schema(public=True)
    return document


def _inlined(node: Any, components: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_inlined(item, components) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return _inlined(components[node["$ref"].rpartition("/")[2]], components)
    return {name: _inlined(value, components) for name, value in node.items()}
