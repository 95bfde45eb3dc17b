"""DRF's JSON parser and renderer on orjson. The parser refuses what the database cannot store."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any

import orjson
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from rest.json_value import has_nul

MAX_DEPTH = 100
"""Levels of nesting. Far below other limits: Python's own encoder fails near 1000 levels."""
MAX_CONTAINERS, MAX_VALUES = 100_000, 250_000
"""Opening brackets and commas in a body, those in strings included. Without these limits 10 MiB could become 500 MB."""


class JSONParser(BaseParser):
    """orjson refuses invalid JSON, bad UTF-8, lone surrogates, NaN and infinities; we refuse NUL and deep nesting."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        text = stream.read()
        containers = text.count(b"[") + text.count(b"{")
        if containers > MAX_CONTAINERS or text.count(b",") > MAX_VALUES:
            raise ParseError(f"The body has more than {MAX_VALUES} values, or {MAX_CONTAINERS} lists and objects.")
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise ParseError(f"The body is not JSON: {error}.") from None
        # Both conditions are cheap and hold for every bad body, so that most good ones are not traversed.
        if containers > MAX_DEPTH and _is_too_deep(value):
            raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.")
        if b"\\u0000" in text and has_nul(value):
            raise ParseError("The body contains a NUL character.")
        return value


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
        ]
    return bool(level)


class JSONRenderer(BaseRenderer):
    """Renders times as RFC 3339 in UTC, with microseconds and a final Z."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(
        self,
        data: Any,
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        return b"" if data is None else dumps(data)


def dumps(data: Any) -> bytes:
    return orjson.dumps(data, default=_encode, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME)


def _encode(value: Any) -> Any:
    if isinstance(value, datetime):
        # Not strftime: its %Y has fewer than four digits for years before 1000.
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, set | frozenset) or hasattr(value, "__iter__"):
        return list(value)
    return str(value)


class OnlyJSON(DefaultContentNegotiation):
    """Always JSON: any Accept header gets it, never a 406."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type
