"""Examples of requests and responses in the OpenAPI document, made from its schemas.

A serializer says what is worth showing (parts.example); what it leaves out is filled in: in a response every field, in
a request only required ones, so that the example can be sent as it stands.
"""

from typing import Any

from rest.openapi.parts import EXAMPLE, ORIGIN, UUID_EXAMPLE

Json = dict[str, Any]

BY_FORMAT = {
    "date-time": "2026-03-01T12:00:00.000000Z",
    "date": "2026-03-01",
    "uuid": UUID_EXAMPLE,
    "uri": f"{ORIGIN}/api/v1/",
}
BY_TYPE = {"string": "text", "boolean": False, "object": {}, "null": None}


def add_examples(document: Json) -> None:
    """Add an example to each JSON body that has none, and remove the x-example keys from the components."""
    components = document["components"]
    for methods in document["paths"].values():
        for operation in methods.values():
            _add(operation.get("requestBody", {}), components, complete=False)
            for response in operation["responses"].values():
                _add(response, components, complete=True)
    for component in components["schemas"].values():
        component.pop(EXAMPLE, None)


def _add(body: Json, components: Json, *, complete: bool) -> None:
    for media_type, content in body.get("content", {}).items():
        if media_type.endswith("json") and "examples" not in content:
            name = content["schema"].get("$ref", "").rpartition("/")[2]
            example = {"value": example_of(content["schema"], components["schemas"], complete=complete)}
            if name:
                components.setdefault("examples", {})[name] = example
            content["examples"] = {name or "Example": {"$ref": f"#/components/examples/{name}"} if name else example}


def example_of(schema: Json, components: Json, *, complete: bool) -> Any:
    """A value of this schema. complete: with its optional fields."""
    if "$ref" in schema:
        return example_of(components[schema["$ref"].rpartition("/")[2]], components, complete=complete)
    for member in ("example", "const", "default"):
        if member in schema:
            return schema[member]
    if "enum" in schema:
        return schema["enum"][0]
    if variants := schema.get("oneOf", schema.get("allOf")):
        # A field that may be null is null in an example that does not say otherwise.
        is_null = {"type": "null"} in variants
        return None if is_null else example_of(variants[0], components, complete=complete)
    return _of_type(schema, components, complete=complete)


def _of_type(schema: Json, components: Json, *, complete: bool) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        return None
    if kind == "object" and "properties" in schema:
        shown: Json = schema.get(EXAMPLE, {})
        required = set(schema.get("required", ()))
        return {
            name: shown[name] if name in shown else example_of(property_, components, complete=complete)
            for name, property_ in schema["properties"].items()
            if name in shown or complete or name in required
        }
    if kind == "array":
        items = [example_of(schema["items"], components, complete=complete)]
        return items if complete or schema.get("minItems") else []
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    return BY_FORMAT.get(schema.get("format", ""), BY_TYPE.get(kind or "null"))
