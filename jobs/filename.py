"""Safe file names and content types for downloads. Pure functions."""

import mimetypes
import re
import unicodedata

MAX_LENGTH = 200
CONTENT_TYPE = re.compile(r"[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*(; ?charset=[a-z0-9-]+)?", re.I)


def safe_filename(name: str) -> str:
    """The last part of a path, without control characters and bidirectional overrides, at most MAX_LENGTH characters.

    The extension survives shortening.
    """
    last = re.split(r"[/\\]", name)[-1]
    visible = "".join("_" if unicodedata.category(character).startswith("C") else character for character in last)
    name = visible.strip(" .")
    if len(name) > MAX_LENGTH:
        stem, dot, extension = name.rpartition(".")
        keep = dot and len(extension) <= 10
        name = f"{stem[: MAX_LENGTH - 1 - len(extension)]}.{extension}" if keep else name[:MAX_LENGTH]
    return name or "output"


def content_type_of(filename: str, given: str = "") -> str:
    """The given content type, or one guessed from the file name. Raises ValueError if invalid (RFC 6838, 4.2)."""
    content_type = given or mimetypes.guess_type(filename)[0] or "application/octet-stream"
    if len(content_type) > 100 or not CONTENT_TYPE.fullmatch(content_type):
        raise ValueError(f"{content_type!r} is not a content type")
    return content_type
