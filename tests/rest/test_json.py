"""JSON in and out: values arrive unchanged, and what cannot be stored is refused."""

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rest_framework.exceptions import ParseError
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory

from rest.json import MAX_CONTAINERS, MAX_DEPTH, MAX_VALUES, JSONParser, JSONRenderer, OnlyJSON, dumps


def parsed(text: bytes) -> Any:
    return JSONParser().parse(BytesIO(text))


texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_json_is_parsed_to_the_same_value(value: Any) -> None:
    assert parsed(json.dumps(value).encode()) == value
    assert parsed(dumps(value)) == value


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(body: bytes) -> None:
    with suppress(ParseError):
        parsed(body)


@given(texts, texts, st.sampled_from([lambda text: text, lambda text: {text: 1}, lambda text: [[{"a": text}]]]))
def test_nul_is_found_wherever_it_hides(before: str, after: str, wrap: Callable[[str], Any]) -> None:
    with pytest.raises(ParseError):
        parsed(json.dumps(wrap(f"{before}\0{after}")).encode())


@pytest.mark.parametrize(("text", "meant"), [(rb'"\\u0000"', "\\u0000"), (rb'{"\\u0000": "\\\\u0000"}', None)])
def test_an_escaped_backslash_before_u0000_is_text(text: bytes, meant: str | None) -> None:
    assert parsed(text) == (meant or json.loads(text))


def test_depth_is_allowed_up_to_the_limit_and_breadth_without_one() -> None:
    assert parsed(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    with pytest.raises(ParseError):
        parsed(b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1))
    with pytest.raises(ParseError, match=f"^The body is nested deeper than {MAX_DEPTH} levels.$"):
        parsed(b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1))
    assert len(parsed(b"[" + b"{}," * 1000 + b"{}]")) == 1001
    assert parsed(b"[" + b'["text"],' * MAX_DEPTH + b"[]]")[0] == ["text"]


@pytest.mark.parametrize(
    ("good", "more"),
    [
        (b"[" + b"[]," * (MAX_CONTAINERS - 2) + b"[]]", b"[" + b"[]," * (MAX_CONTAINERS - 1) + b"[]]"),
        (b"[" + b"{}," * (MAX_CONTAINERS - 2) + b"{}]", b"[" + b"{}," * (MAX_CONTAINERS - 1) + b"{}]"),
        (b"[" + b"1," * MAX_VALUES + b"1]", b"[" + b"1," * (MAX_VALUES + 1) + b"1]"),
    ],
    ids=["lists", "objects", "values"],
)
def test_a_body_may_have_so_many_values_and_containers(good: bytes, more: bytes) -> None:
    assert parsed(good)
    with pytest.raises(ParseError, match=f"^The body has more than {MAX_VALUES} values, or {MAX_CONTAINERS} lists"):
        parsed(more)


@pytest.mark.parametrize(
    ("body", "said"), [(b"[1,", "The body is not JSON: "), (rb'"\u0000"', "The body contains a NUL character.")]
)
def test_a_refusal_says_what_is_wrong(body: bytes, said: str) -> None:
    with pytest.raises(ParseError, match=f"^{said}"):
        parsed(body)


def test_times_are_written_in_utc_with_microseconds() -> None:
    moment = datetime.fromisoformat("2026-01-02T03:04:05+02:00")
    assert dumps({"at": moment}) == b'{"at":"2026-01-02T01:04:05.000000Z"}'
    assert dumps(datetime(2026, 1, 2, tzinfo=UTC)) == b'"2026-01-02T00:00:00.000000Z"'


def test_python_types_that_json_lacks_are_written_as_text_and_lists() -> None:
    value = {1: Decimal("1.5"), "id": UUID(int=1), "many": {2}, "some": iter([3])}
    assert json.loads(dumps(value)) == {"1": "1.5", "id": str(UUID(int=1)), "many": [2], "some": [3]}
    assert JSONRenderer().render(None) == b""
    assert JSONRenderer().render({"a": None}) == b'{"a":null}'


@pytest.mark.parametrize("year", [1, 87, 999, 1000, 2026, 9999])
def test_the_year_of_a_time_has_four_digits(year: int) -> None:
    assert dumps(datetime(year, 2, 3, 4, 5, 6, tzinfo=UTC)) == f'"{year:04}-02-03T04:05:06.000000Z"'.encode()


def test_a_client_gets_json_whatever_it_accepts() -> None:
    request = Request(APIRequestFactory().get("/", headers={"Accept": "text/html"}))
    renderer = JSONRenderer()
    assert OnlyJSON().select_renderer(request, [renderer]) == (renderer, "application/json")
