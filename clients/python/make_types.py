"""Writes legwork_client/types.py from the API's OpenAPI document: `curl …/api/v1/schema/ | python make_types.py`."""

import json
import keyword
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TYPES = Path(__file__).parent / "legwork_client" / "types.py"
WANTED = {
    "BatchResult": "BatchResult",
    "Job": "JobResponse",
    "Kind": "KindResponse",
    "Lease": "LeaseResponse",
    "ListedToken": "ListedToken",
    "Message": "MessageResponse",
    "NewToken": "NewToken",
    "Renewal": "RenewalResponse",
}
SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}
HEAD = '''"""The API's answers as dictionaries. Made from its OpenAPI document by make_types.py; do not edit."""

from typing import Any, Literal, NotRequired, TypedDict
'''

Schema = dict[str, Any]


def module(document: Schema) -> str:
    """The text of types.py."""
    schemas = document["components"]["schemas"]
    names = {schema: name for name, schema in WANTED.items()}
    done: dict[str, str] = {}
    todo = list(names)
    while todo:
        schema = todo.pop()
        if schema not in done:
            references = set(_references(schemas[schema]))
            names |= {found: found.removesuffix("Response").removesuffix("Enum") for found in references - names.keys()}
            done[schema] = _definition(names[schema], schemas[schema], names)
            todo += references
    aliases = sorted(text for text in done.values() if " = Literal" in text)
    classes = sorted(text for text in done.values() if " = Literal" not in text)
    return "\n".join([HEAD, "".join(aliases), *("\n" + text for text in classes)])


def _definition(name: str, schema: Schema, names: dict[str, str]) -> str:
    if "enum" in schema:
        return f"{name} = Literal[{', '.join(json.dumps(value) for value in schema['enum'])}]\n"
    required = set(schema.get("required", ()))
    types = {field: _type(part, names) for field, part in schema["properties"].items()}
    fields = {field: text if field in required else f"NotRequired[{text}]" for field, text in types.items()}
    doc = schema.get("description", "").split("\n")[0]
    if any(keyword.iskeyword(field) for field in fields):
        lines = [f'        "{field}": "{text}",\n' for field, text in fields.items()]
        return f'{name} = TypedDict(\n    "{name}",\n    {{\n{"".join(lines)}    }},\n)\n'
    head = f'    """{doc}"""\n\n' if doc else ""
    return f"class {name}(TypedDict):\n{head}" + "".join(f'    {field}: "{text}"\n' for field, text in fields.items())


def _type(schema: Schema, names: dict[str, str]) -> str:
    if "$ref" in schema:
        return names[_name(schema)]
    if parts := schema.get("oneOf") or schema.get("anyOf") or schema.get("allOf"):
        return " | ".join(dict.fromkeys(_type(part, names) for part in parts))
    if "enum" in schema:
        return f"Literal[{', '.join(repr(value) for value in schema['enum'])}]"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if len(set(kinds) - {"null"}) != 1:
        return "Any"
    return " | ".join(_one_type(kind, schema, names) for kind in kinds)


def _one_type(kind: str, schema: Schema, names: dict[str, str]) -> str:
    if kind == "array":
        return f"list[{_type(schema['items'], names)}]"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {_type(values, names) if isinstance(values, dict) else 'Any'}]"
    return SCALARS[kind]


def _references(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _references(item)
    elif isinstance(node, dict):
        if "$ref" in node:
            yield _name(node)
        for item in node.values():
            yield from _references(item)


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


if __name__ == "__main__":
    TYPES.write_text(module(json.load(sys.stdin)))
