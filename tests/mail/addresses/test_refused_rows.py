"""How many bad rows of a list are reported, and which."""

from mail.addresses.refused_rows import first_refused, refused_row
from rest.requests.field_errors import FieldError


def test_no_bad_row_is_reported_after_one_that_is_only_counted() -> None:
    long, short = [FieldError(field="", code="x", detail="ä" * 200)], [FieldError(field="", code="x", detail="")]
    rows = [refused_row(number, long if number < 200 else short) for number in range(400)]
    first = first_refused(rows[:200])
    assert first_refused(first + rows[200:]) == first == rows[: len(first)]
    assert 0 < len(first) < 200
