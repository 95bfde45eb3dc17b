"""What the database can keep of a Python value: plain JSON, bounded, without NUL characters."""

import json
from typing import Any

import orjson
from django.core.serializers.json import DjangoJSONEncoder

LIMIT = 256 * 1024
"""Bytes of JSON (ASCII) that the params or the result of a job may have."""


class NotStorable(ValueError):
    """Says why, as the rest of a sentence that begins with the name of the value."""


def to_json(value: object) -> object:
    """The value as JSON has it: dates, decimals and UUIDs become strings, tuples lists. Raises NotStorable."""
    try:
        text = json.dumps(value, cls=DjangoJSONEncoder, allow_nan=False)
        plain: object = json.loads(text)
        orjson.dumps(nested(plain))
    except (TypeError, ValueError, RecursionError) as error:
        raise NotStorable(f"is not JSON that can be shown: {error}") from None
    if len(text) > LIMIT:
        raise NotStorable(f"has {len(text)} bytes of JSON; {LIMIT} may be stored")
    if "\\u0000" in text and has_nul(plain):
        raise NotStorable("has a NUL character, which the database cannot store")
    return plain


def nested(value: object) -> object:
    """As deep as it may stand in an answer; there, half characters and integers of more than 64 bits fail as well."""
    return [[[[value]]]]


def has_nul(value: object) -> bool:
    """Whether any string in this JSON value, keys included, has a NUL character."""
    if isinstance(value, dict):
        return any(has_nul(key) or has_nul(item) for key, item in value.items())
    if isinstance(value, list):
        return any(map(has_nul, value))
    return isinstance(value, str) and "\0" in value


def clean_text(words: str) -> str:
    """The words as a database and a JSON answer can have them: without NUL characters and halves of characters."""
    return words.replace("\0", "").encode("utf-8", "replace").decode()


class Decoder(json.JSONDecoder):
    """Of stored JSON: PostgreSQL gives 1e20 back as an integer, which no JSON answer could show."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, parse_int=_number)


def _number(digits: str) -> float:
    number = int(digits)
    return number if -(2**63) <= number < 2**64 else float(number)
