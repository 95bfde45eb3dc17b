"""Uploaded files of comma-separated values: decoding and splitting. Broadcasts and suppressions are read from them."""

import csv
import io
from collections.abc import Iterator

SEPARATORS = ",;\t"


MAX_LINE = 100_000
"""Characters. Split into many fields, a line takes up to 30 times its size in memory."""


class BadFile(ValueError):
    """The file cannot be read. The message is a sentence that says why."""


def decode_csv(content: bytes) -> str:
    """The text of a file, which must be UTF-8 without NUL characters. Raises BadFile."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFile("The file is not UTF-8.") from None
    if "\0" in text:
        raise BadFile("The file contains a NUL character.")
    if len(max(text.split("\n"), key=len)) > MAX_LINE:
        raise BadFile(f"A line has more than {MAX_LINE} characters.")
    return text


def split_rows(text: str, separator: str) -> Iterator[list[str]]:
    """The lines that are not empty, as lists of fields. Raises BadFile."""
    try:
        yield from filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))
    except csv.Error as error:
        raise BadFile(f"The file is not comma-separated values: {error}.") from None
