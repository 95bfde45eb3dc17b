"""Makes Python values storable: plain JSON of bounded size without NUL, which PostgreSQL refuses.

to_json() refuses what cannot be stored, clean_text() replaces it, has_nul() finds NUL.
"""

import json

import orjson
from django.core.serializers.json import DjangoJSONEncoder

LIMIT = 256 * 1024
"""Maximum size of a job's params, and of its result, in bytes of ASCII JSON."""


class NotStorable(ValueError):
    """The value cannot be stored. The text is a predicate, to follow the value's name: "has a NUL character"."""


def to_json(value: object) -> object:
    """Convert to plain JSON: dates, decimals and UUIDs become strings, tuples lists. Raises NotStorable."""
    if value is None:  # what most handlers return
        return None
    try:
        text = _encode(value)
        plain: object = json.loads(text)
        orjson.dumps([[[[plain]]]])  # as deep as in a response; also refuses lone surrogates and integers over 64 bits
    except (TypeError, ValueError, RecursionError) as error:
        raise NotStorable(f"is not valid JSON: {error}") from None
    if len(text) > LIMIT:
        raise NotStorable(f"has {len(text)} bytes of JSON; {LIMIT} may be stored")
    if "\\u0000" in text and has_nul(plain):
        raise NotStorable("has a NUL character, which the database cannot store")
    return plain


def has_nul(value: object) -> bool:
    """Whether any string in this JSON value, including keys, contains NUL."""
    if isinstance(value, dict):
        return any(has_nul(key) or has_nul(item) for key, item in value.items())
    if isinstance(value, list):
        return any(map(has_nul, value))
    return isinstance(value, str) and "\0" in value


def clean_text(text: str, *, nul: str = "") -> str:
    """The text without NUL characters and lone surrogates. nul: replaces each NUL."""
    return text.replace("\0", nul).encode("utf-8", "replace").decode()


class StoredJSONDecoder(json.JSONDecoder):
    """For JSONField. PostgreSQL returns 1e20 as an integer; orjson makes a float of it, which it can encode."""

    def decode(self, text: str) -> object:  # type: ignore[override]
        return orjson.loads(text)


def stored_json_decoder() -> json.JSONDecoder:
    """A function: Django only calls it, as it would call a class. So all fields share one decoder."""
    return _stored_json_decoder


_encode = DjangoJSONEncoder(allow_nan=False).encode
_stored_json_decoder = StoredJSONDecoder()
