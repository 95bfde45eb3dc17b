"""Fields take what the schema says, and look at lengths first."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.test import APIRequestFactory

from project.api.docs import SchemaView
from project.login.tokens import TokensView
from rest.json import MAX_CONTAINERS, MAX_VALUES, JSONParser
from rest.problems import document
from rest.requests.batch import MAX_BATCH_ERRORS, parse_each
from rest.requests.field_errors import MAX_DETAIL, MAX_ERRORS, first_errors
from rest.requests.fields import ChoiceField, DictField, IntegerField, ListField, NumberField, StringField, TimeField
from rest.requests.query import unknown_parameters
from rest.requests.strict import NAMED_UNKNOWN, StrictSerializer
from tests.support import fixed_work


class Seen(serializers.Field[Any, Any, Any, Any]):
    """Counts the items that it is asked to validate."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.count = 0

    def to_internal_value(self, data: Any) -> Any:
        self.count += 1
        if data == "bad":
            raise ValidationError("Bad.")
        return data


def refused(field: serializers.Field[Any, Any, Any, Any], value: object) -> list[str]:
    with pytest.raises(ValidationError) as error:
        field.run_validation(value)
    return [each["code"] for each in first_errors(error.value.detail)]


def test_the_items_of_a_list_that_is_too_long_are_not_validated() -> None:
    field = ListField(child=Seen(), max_length=3)
    assert field.run_validation([1, 2, 3]) == [1, 2, 3]
    seen = field.child.count
    assert refused(field, [1, 2, 3, 4]) == ["max_length"]
    assert field.child.count == seen


def test_the_values_of_an_object_with_too_many_names_are_not_validated() -> None:
    field = DictField(child=Seen(), max_length=2)
    assert field.run_validation({"a": 1, "b": 2}) == {"a": 1, "b": 2}
    seen = field.child.count
    assert refused(field, {"a": 1, "b": 2, "c": 3}) == ["max_length"]
    assert field.child.count == seen


@pytest.mark.parametrize(
    ("field_class", "bad"), [(ListField, ["bad"] * 1000), (DictField, dict.fromkeys(map(str, range(1000)), "bad"))]
)
def test_validation_ends_after_so_many_bad_items(field_class: Any, bad: Any) -> None:
    field = field_class(child=Seen(), max_length=1000)
    assert len(refused(field, bad)) == MAX_ERRORS
    assert field.child.count == MAX_ERRORS


@pytest.mark.parametrize(("value", "code"), [("5", "invalid"), (5.5, "invalid"), (True, "invalid"), (9, "max_value")])
def test_a_number_is_a_number(value: object, code: str) -> None:
    field = IntegerField(max_value=8)
    assert (field.run_validation(5), field.run_validation(5.0)) == (5, 5)
    assert refused(field, value) == [code]


@pytest.mark.parametrize(("value", "code"), [("5", "invalid"), (True, "invalid"), (9, "max_value")])
def test_a_number_with_a_fraction_is_a_number_too(value: object, code: str) -> None:
    field = NumberField(max_value=8)
    assert (field.run_validation(5.5), field.run_validation(5)) == (5.5, 5.0)
    assert refused(field, value) == [code]


@pytest.mark.parametrize("value", ["2026-03-01T12:00:00", "2026-03-01", 5, "0001-01-01T00:00:00+14:00", "2" * 100])
def test_a_time_has_an_offset(value: object) -> None:
    field = TimeField()
    assert field.run_validation("2026-03-01T12:00:00+02:00") == datetime(2026, 3, 1, 10, tzinfo=UTC)
    assert len(refused(field, value)) == 1


def test_a_choice_lists_the_choices_and_does_not_repeat_the_value() -> None:
    field = ChoiceField(["a", "b"])
    with pytest.raises(ValidationError) as error:
        field.run_validation("x" * 1000)
    assert error.value.detail == ["Choose one of a, b."]
    assert refused(ChoiceField([("1", "one")]), 1) == ["invalid_choice"]


def test_the_length_of_a_string_is_checked_first() -> None:
    text = "\0" * 10_000_000
    started = time.process_time()
    assert refused(StringField(max_length=10), text) == ["max_length"]
    assert time.process_time() - started < fixed_work.cpu_seconds()


def test_unknown_fields_are_counted_and_not_listed() -> None:
    class Body(StrictSerializer):
        a = StringField()

    body = Body(data={f"unknown {number}": 1 for number in range(100_000)})
    assert not body.is_valid()
    errors = first_errors(body.errors)
    assert [error["code"] for error in errors] == ["unknown"] * (NAMED_UNKNOWN + 1)
    assert errors[0]["detail"] == "Unknown field. Allowed: a."
    assert errors[-1] == {"field": "", "code": "unknown", "detail": "There are 99995 more unknown fields."}


def test_errors_cut_long_values() -> None:
    [error] = first_errors({"x" * 10_000: ["y" * 10_000]})
    assert len(error["detail"]) == MAX_DETAIL
    assert len(error["field"]) < MAX_DETAIL
    assert len(document(400, "d" * 10_000, "/" * 10_000)) < 1000


def test_a_batch_lists_so_many_errors_in_all() -> None:
    def parse(item: object) -> None:
        raise ValidationError({str(number): ["Bad."] for number in range(100)})

    outcomes = parse_each(range(100), parse)
    assert [len(outcome) for outcome in outcomes if outcome] == [MAX_ERRORS] * 25 + [1] * 75
    assert sum(len(outcome) for outcome in outcomes if outcome) == MAX_BATCH_ERRORS + 75


@pytest.mark.parametrize(
    "body", [b"[" + b"0," * (MAX_VALUES + 1) + b"0]", b"[" + b"{}" * (MAX_CONTAINERS + 1)], ids=["values", "objects"]
)
def test_a_body_of_many_values_is_not_parsed(body: bytes) -> None:
    with pytest.raises(Exception, match="more than"):
        JSONParser().parse(APIRequestFactory().post("/", body, content_type="application/json"))


def test_unknown_query_parameters_are_errors_that_list_the_known_ones() -> None:
    assert unknown_parameters(TokensView, "GET", {"cursor": "x", "page_size": "1"}) == {}
    errors = unknown_parameters(TokensView, "GET", {"page": "1"})
    assert [str(error) for error in errors["page"]] == ["Unknown parameter. Allowed: cursor, page_size."]
    assert "cursor" in unknown_parameters(TokensView, "POST", {"cursor": "x"})
    assert unknown_parameters(SchemaView, "GET", {"format": "json"}) == {}
