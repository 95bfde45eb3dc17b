"""What can be stored as JSON, what is refused with a sentence, and what is made storable."""

from datetime import UTC, datetime
from decimal import Decimal
from json import dumps, loads
from typing import Any
from uuid import UUID

import pytest

from rest.json_value import LIMIT, NotStorable, clean_text, has_nul, stored_json_decoder, to_json

LARGEST, SMALLEST = 2**64 - 1, -(2**63)
"""Of the integers that orjson encodes."""


def test_python_types_that_json_lacks_become_text_and_lists() -> None:
    value = {"at": datetime(2026, 1, 2, tzinfo=UTC), "sum": Decimal("1.50"), "id": UUID(int=1), "pair": (1, 2)}
    assert to_json(value) == {"at": "2026-01-02T00:00:00Z", "sum": "1.50", "id": str(UUID(int=1)), "pair": [1, 2]}


@pytest.mark.parametrize("value", [object(), float("nan"), float("inf"), "\ud800", LARGEST + 1, SMALLEST - 1])
def test_what_is_not_json_is_refused(value: object) -> None:
    with pytest.raises(NotStorable, match=r"^is not valid JSON: "):
        to_json([value])


def test_numbers_are_kept_to_their_limits() -> None:
    assert to_json([LARGEST, SMALLEST, 1.5]) == [LARGEST, SMALLEST, 1.5]


def test_a_value_may_have_so_many_bytes() -> None:
    longest = "x" * (LIMIT - len('""'))
    assert to_json(longest) == longest
    with pytest.raises(NotStorable, match=f"^has {LIMIT + 1} bytes of JSON; {LIMIT} may be stored$"):
        to_json(longest + "x")


def test_a_value_may_be_so_deep_that_a_response_can_still_hold_it() -> None:
    """orjson encodes 254 levels, and a response has four of its own."""
    assert to_json(nested(250)) == nested(250)
    with pytest.raises(NotStorable, match=r"^is not valid JSON: "):
        to_json(nested(251))


def nested(levels: int) -> list[Any]:
    return loads("[" * levels + "]" * levels)


@pytest.mark.parametrize("value", ["\0", {"\0": 1}, {"a": ["b", "c\0"]}])
def test_nul_is_found_in_keys_and_values_and_refused(value: object) -> None:
    assert has_nul(value)
    with pytest.raises(NotStorable, match=r"^has a NUL character, which the database cannot store$"):
        to_json(value)


@pytest.mark.parametrize("value", [None, 1, "\\u0000", {"\\u0000": ["\\u0000"]}])
def test_text_that_only_looks_like_nul_is_stored(value: object) -> None:
    assert not has_nul(value)
    assert to_json(value) == value


def test_text_is_made_storable() -> None:
    assert clean_text("a\0b\ud800c é") == "ab?c é"
    assert clean_text("a\0b", nul="␀") == "a␀b"


@pytest.mark.parametrize("number", [0, -1, LARGEST, SMALLEST])
def test_stored_integers_are_integers(number: int) -> None:
    [read] = stored_json_decoder().decode(dumps([number]))
    assert type(read) is int
    assert read == number


@pytest.mark.parametrize("number", [LARGEST + 1, SMALLEST - 1, 10**20])
def test_an_integer_that_orjson_cannot_encode_is_read_as_a_float(number: int) -> None:
    [read] = stored_json_decoder().decode(dumps([number]))
    assert type(read) is float
    assert read == float(number)
