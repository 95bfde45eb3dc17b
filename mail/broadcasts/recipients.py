"""Reads the recipients of a broadcast, from a list in JSON or from a CSV file. api/views → here → fan_out."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from rest_framework.exceptions import ValidationError

from mail.addresses.csv_files import SEPARATORS, BadFile, decode_csv, split_rows
from mail.addresses.normalize import MAX_ADDRESS_LENGTH
from mail.addresses.refused_rows import MAX_REPORTED, RefusedRow, refused_row
from rest.requests.field_errors import FieldError, first_errors
from rest.requests.fields import ObjectField, StringField
from rest.requests.strict import StrictSerializer

MAX_IN_JSON, MAX_IN_FILE = 10_000, 100_000
TO = "to"


class RecipientRequest(StrictSerializer):
    """One recipient. Whether its address takes mail is checked later, by fan_out."""

    to = StringField(max_length=MAX_ADDRESS_LENGTH)
    context = ObjectField(required=False, allow_null=True)  # type: ignore[assignment]


@dataclass(slots=True)
class Recipients:
    """rows: {"to", "context"}, or None for a refused one. refused: the first of these; refusals: how many there are."""

    rows: list[dict[str, Any] | None] = field(default_factory=list)
    refused: list[RefusedRow] = field(default_factory=list)
    refusals: int = 0

    def refuse(self, errors: Iterable[FieldError]) -> None:
        self.rows.append(None)
        self.refusals += 1
        if len(self.refused) < MAX_REPORTED:
            self.refused.append(refused_row(len(self.rows), errors))


def read_list(items: Iterable[object]) -> Recipients:
    """From the list in a JSON body."""
    found, serializer = Recipients(), RecipientRequest()
    for item in items:
        try:
            recipient = serializer.run_validation(item)
        except ValidationError as error:
            found.refuse(first_errors(error.detail))
        else:
            found.rows.append({"to": recipient["to"], "context": recipient.get("context") or {}})
    return found


def read_csv(content: bytes) -> Recipients:
    """From a file whose first line names its columns: `to`, and the variables of the template. Raises BadFile."""
    lines = _lines(decode_csv(content))
    columns = _columns(next(lines, []))
    found = Recipients()
    for line in lines:
        if len(found.rows) == MAX_IN_FILE:
            raise BadFile(f"The file has more than {MAX_IN_FILE} rows.")
        _add_line(found, columns, line)
    if not found.rows:
        raise BadFile("The file has no rows.")
    return found


def _lines(text: str) -> Iterator[list[str]]:
    """Split at the first separator that gives a column `to`. Names in quotes may contain any of the separators."""
    for separator in SEPARATORS:
        with suppress(BadFile):
            if any(map(_is_to, next(split_rows(text, separator), []))):
                return split_rows(text, separator)
    return split_rows(text, SEPARATORS[0])


def _columns(line: list[str]) -> list[str]:
    columns = [TO if _is_to(name) else name.strip() for name in line]
    named = [name for name in columns if name]
    if TO not in named:
        raise BadFile("The first line must name the columns, one of them `to`.")
    if len(set(named)) < len(named):
        raise BadFile("The first line names a column twice.")
    return columns


def _is_to(name: str) -> bool:
    return name.strip().lower() == TO


def _add_line(found: Recipients, columns: list[str], line: list[str]) -> None:
    if len(line) != len(columns):
        detail = f"This row has {len(line)} fields, the first line has {len(columns)}."
        return found.refuse([FieldError(field="", code="columns", detail=detail)])
    values = dict(zip(columns, line, strict=True))
    to = values.pop(TO).strip()
    values.pop("", None)
    if not 0 < len(to) <= MAX_ADDRESS_LENGTH:
        detail = f"This row needs an address of 1 to {MAX_ADDRESS_LENGTH} characters."
        return found.refuse([FieldError(field=TO, code="required", detail=detail)])
    found.rows.append({"to": to, "context": values})
    return None
