"""How a file may be called for whoever downloads it, and what it is said to contain. Pure."""

import mimetypes
import re
import unicodedata

LONGEST = 200
CONTENT_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*(; ?charset=[a-z0-9-]+)?", re.I)


def safe_filename(name: str) -> str:
    """The last part of a path, without control characters and those that turn the direction of writing around."""
    last = re.split(r"[/\\]", name)[-1]
    visible = "".join("_" if unicodedata.category(character).startswith("C") else character for character in last)
    return _shortened(visible.strip(" .")) or "output"


def content_type_of(filename: str, given: str = "") -> str:
    """As given, or else by the name's ending. Raises ValueError when it is no media type (RFC 6838, 4.2)."""
    content_type = given or mimetypes.guess_type(filename)[0] or "application/octet-stream"
    if len(content_type) > 100 or not CONTENT_TYPE.fullmatch(content_type):
        raise ValueError(f"{content_type!r} is not a content type")
    return content_type


def _shortened(name: str) -> str:
    """Its ending is kept."""
    if len(name) <= LONGEST:
        return name
    stem, dot, ending = name.rpartition(".")
    return f"{stem[: LONGEST - 1 - len(ending)]}.{ending}" if dot and len(ending) <= 10 else name[:LONGEST]
