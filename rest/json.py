"""JSON in and out, by orjson. What a database or another program would choke on is refused at the door."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any

import orjson
from rest_framework.exceptions import ParseError
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

MAX_DEPTH = 100
"""Far below what breaks the programs behind us: Python's own encoder gives up near 1000 levels."""


class JSONParser(BaseParser):
    """orjson refuses broken text, bad UTF-8, lone surrogates, NaN and infinities; NUL and depth are ours to refuse."""

    media_type = "application/json"

    def parse(
        self, stream: IO[Any], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        text = stream.read()
        try:
            value = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise ParseError(f"The body is not JSON: {error}.") from None
        if _looks_suspicious(text):
            _inspect(value)
        return value


def _looks_suspicious(text: bytes) -> bool:
    """Cheap and never wrong when it says no, so that honest bodies are not walked through."""
    return b"\\u0000" in text or text.count(b"[") + text.count(b"{") > MAX_DEPTH


def _inspect(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        if not level:
            return
        level = [inner for outer in level for inner in _parts(outer)]
    raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.")


def _parts(value: Any) -> list[Any]:
    if isinstance(value, str) and "\0" in value:
        raise ParseError("The body contains a NUL character.")
    if isinstance(value, dict):
        return [*value.keys(), *value.values()]
    return value if isinstance(value, list) else []


class JSONRenderer(BaseRenderer):
    """Times come out as RFC 3339 in UTC, with microseconds, ending in Z."""

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
    return orjson.dumps(data, default=_plain, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATETIME)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        # Not strftime, whose %Y has fewer than four digits for years before 1000.
        return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    if isinstance(value, set | frozenset) or hasattr(value, "__iter__"):
        return list(value)
    return str(value)


class OnlyJSON(DefaultContentNegotiation):
    """There is one kind of answer, so an odd Accept header gets it too rather than a 406."""

    def select_renderer(
        self, request: Request, renderers: Any, format_suffix: str | None = None
    ) -> tuple[BaseRenderer, str]:
        return renderers[0], renderers[0].media_type
