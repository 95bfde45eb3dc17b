"""Reports of the bad rows of an uploaded list: the first ones, shortened, so that the report stays small. Pure."""

import json
from collections.abc import Iterable
from itertools import islice
from typing import TypedDict

from rest.requests.field_errors import FieldError

MAX_REPORTED = 500
"""Rows that are reported one by one; the others are only counted."""
REPORTED_BYTES = 192 * 1024
"""JSON bytes of all reported rows. A job's result may have 256 KiB."""
MAX_ERRORS, MAX_FIELD_LENGTH, MAX_DETAIL_LENGTH = 3, 100, 200
"""Per row: a client's item may have thousands of errors, and error texts may repeat what it sent."""


class RefusedRow(TypedDict):
    """row: its number, 1 for the first recipient. errors: why it was refused."""

    row: int
    errors: list[FieldError]


def refused_row(number: int, errors: Iterable[FieldError]) -> RefusedRow:
    """The report of one row, shortened to at most about 10 KB."""
    shown = [
        FieldError(field=each["field"][:MAX_FIELD_LENGTH], code=each["code"], detail=each["detail"][:MAX_DETAIL_LENGTH])
        for each in islice(errors, MAX_ERRORS)
    ]
    return RefusedRow(row=number, errors=shown)


def first_refused(refused: Iterable[RefusedRow]) -> list[RefusedRow]:
    """The first of these rows, as many as a result can hold."""
    first: list[RefusedRow] = []
    size = 0
    for each in sorted(refused, key=lambda each: each["row"])[:MAX_REPORTED]:
        # The row that crosses the limit is still reported: otherwise the next call could report a later, smaller one.
        if size > REPORTED_BYTES:
            break
        first.append(each)
        size += len(json.dumps(each))
    return first
