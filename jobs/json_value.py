"""What the database can keep of a Python value: plain JSON, bounded, without NUL characters."""

import json

from django.core.serializers.json import DjangoJSONEncoder

LIMIT = 256 * 1024
"""Bytes of JSON (ASCII) that the params or the result of a job may have."""


class NotStorable(ValueError):
    """Says why, as the rest of a sentence that begins with the name of the value."""


def json_value(value: object) -> object:
    """The value as JSON has it: dates, decimals and UUIDs become strings, tuples lists. Raises NotStorable."""
    try:
        text = json.dumps(value, cls=DjangoJSONEncoder, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise NotStorable(f"is not JSON: {error}") from None
    if len(text) > LIMIT:
        raise NotStorable(f"has {len(text)} bytes of JSON; {LIMIT} may be stored")
    plain: object = json.loads(text)
    if "\\u0000" in text and has_nul(plain):
        raise NotStorable("has a NUL character, which the database cannot store")
    return plain


def has_nul(value: object) -> bool:
    """Whether any string in this JSON value, keys included, has a NUL character."""
    if isinstance(value, dict):
        return any(has_nul(key) or has_nul(item) for key, item in value.items())
    if isinstance(value, list):
        return any(map(has_nul, value))
    return isinstance(value, str) and "\0" in value
