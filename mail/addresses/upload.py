"""The recipients of a broadcast as they come in: a list in JSON, or a file of comma-separated values."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, TypedDict

from rest_framework.exceptions import ValidationError

from mail.addresses import normalize
from mail.api.fields import ContextField, StringField
from rest.field_errors import FieldError, flatten
from rest.strict import StrictSerializer

MOST_IN_JSON, MOST_IN_FILE = 10_000, 100_000
MOST_TOLD = 500
TOLD_BYTES = 192 * 1024
"""Of JSON, for the bad rows that are told one by one; the others are only counted. A job's result may have 256 KiB."""
MOST_ERRORS, LONGEST_FIELD, LONGEST_DETAIL = 3, 100, 200
"""Of a bad row: what was sent may be wrong in thousands of ways, and be repeated in what is said of it."""
SEPARATORS = ",;\t"
TO = "to"


class BadFile(ValueError):
    """Says why a file cannot be read as a list of recipients."""


class RefusedRow(TypedDict):
    """A bad row: its number, 1 for the first recipient, and what is wrong with it."""

    row: int
    errors: list[FieldError]


class Row(StrictSerializer):
    """One recipient. Whether the address can be written to is looked at when the broadcast comes to it."""

    to = StringField(max_length=normalize.LONGEST)
    context = ContextField(required=False, allow_null=True)  # type: ignore[assignment]


@dataclass(slots=True)
class Recipients:
    """rows: {"to", "context"}, or None for a bad one. refused: the first bad ones; refusals: how many there are."""

    rows: list[dict[str, Any] | None] = field(default_factory=list)
    refused: list[RefusedRow] = field(default_factory=list)
    refusals: int = 0

    def refuse(self, errors: Iterable[FieldError]) -> None:
        self.rows.append(None)
        self.refusals += 1
        if len(self.refused) < MOST_TOLD:
            self.refused.append(bad_row(len(self.rows), errors))


def bad_row(number: int, errors: Iterable[FieldError]) -> RefusedRow:
    """What is told of a bad row, shortened so that it has some 10 KB at most."""
    shown = [
        FieldError(field=each["field"][:LONGEST_FIELD], code=each["code"], detail=each["detail"][:LONGEST_DETAIL])
        for each in islice(errors, MOST_ERRORS)
    ]
    return RefusedRow(row=number, errors=shown)


def first_told(refused: Iterable[RefusedRow]) -> list[RefusedRow]:
    """The first of these bad rows, as many as a result can hold."""
    told: list[RefusedRow] = []
    size = 0
    for each in sorted(refused, key=lambda each: each["row"])[:MOST_TOLD]:
        # The row that passes the limit is told, too: then no later one ever slips in behind one that was left out.
        if size > TOLD_BYTES:
            break
        told.append(each)
        size += len(json.dumps(each))
    return told


def of_json(items: Iterable[object]) -> Recipients:
    """Recipients as a client lists them."""
    found = Recipients()
    for item in items:
        body = Row(data=item)
        try:
            body.is_valid(raise_exception=True)
        except ValidationError as error:
            found.refuse(flatten(error.detail))
        else:
            found.rows.append({"to": body.validated_data["to"], "context": body.validated_data.get("context") or {}})
    return found


def of_csv(content: bytes) -> Recipients:
    """Recipients of a file whose first line names its columns: `to`, and what the template says. Raises BadFile."""
    text = decoded(content)
    lines = _lines(text)
    columns = _columns(next(lines, []))
    found = Recipients()
    for line in lines:
        if len(found.rows) == MOST_IN_FILE:
            raise BadFile(f"The file has more than {MOST_IN_FILE} rows.")
        _take(found, columns, line)
    if not found.rows:
        raise BadFile("The file has no rows.")
    return found


def decoded(content: bytes) -> str:
    """The text of a file. Raises BadFile."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadFile("The file is not UTF-8.") from None
    if "\0" in text:
        raise BadFile("The file contains a NUL character.")
    return text


def _lines(text: str) -> Iterator[list[str]]:
    """The lines that are not empty, divided at the first separator by which there is a column `to`."""
    separator = next((each for each in SEPARATORS if _divides(each, text)), SEPARATORS[0])
    try:
        yield from _divided(text, separator)
    except csv.Error as error:
        raise BadFile(f"The file is not comma-separated values: {error}.") from None


def _divides(separator: str, text: str) -> bool:
    """Only csv knows: names in quotes may have any of the separators in them."""
    with suppress(csv.Error):
        return any(map(_is_to, next(_divided(text, separator), [])))
    return False


def _divided(text: str, separator: str) -> Iterator[list[str]]:
    return filter(None, csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True))


def _columns(line: list[str]) -> list[str]:
    columns = [TO if _is_to(name) else name.strip() for name in line]
    named = [name for name in columns if name]
    if TO not in named:
        raise BadFile("The first line names the columns, and one of them is `to`.")
    if len(set(named)) < len(named):
        raise BadFile("The first line names a column twice.")
    return columns


def _is_to(name: str) -> bool:
    return name.strip().lower() == TO


def _take(found: Recipients, columns: list[str], line: list[str]) -> None:
    if len(line) != len(columns):
        detail = f"This row has {len(line)} fields, and the first line {len(columns)}."
        return found.refuse([FieldError(field="", code="columns", detail=detail)])
    values = dict(zip(columns, line, strict=True))
    to = values.pop(TO).strip()
    values.pop("", None)
    if not 0 < len(to) <= normalize.LONGEST:
        return found.refuse([FieldError(field=TO, code="required", detail="This row has no address.")])
    found.rows.append({"to": to, "context": values})
    return None
