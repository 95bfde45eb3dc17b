"""All kinds: the schema of their params in job-kinds/ agrees with what a POST accepts."""

import inspect
from datetime import timedelta
from typing import Any

import pytest
from django.core.cache import cache
from jsonschema import Draft202012Validator
from rest_framework.exceptions import ValidationError
from rest_framework.test import APIClient

from jobs import registry
from jobs.api.params_schema import params_schema
from jobs.registry import Kind
from project.models import Token
from tests.support.factories import make_kind, make_user

COUNTDOWN_GOOD: list[Any] = [
    {"seconds": 0},
    {"seconds": 3600},
    {"seconds": 5, "fail_attempts": 2},
    {"seconds": 5, "fail_attempts": 0, "error": "permanent"},
    {"seconds": 5, "error": "transient"},
]
COUNTDOWN_BAD: list[Any] = [
    {},
    {"seconds": -1},
    {"seconds": 3601},
    {"seconds": None},
    {"seconds": "soon"},
    {"seconds": True},
    {"seconds": 1.5},
    {"seconds": [1]},
    {"seconds": 1, "error": "sometimes"},
    {"seconds": 1, "fail_attempts": -1},
    {"seconds": 1, "minutes": 1},
    [],
    "seconds",
    None,
]
URL = "https://a.example/"
HTTP_GOOD: list[Any] = [
    {"url": URL},
    {"url": URL, "method": "DELETE", "headers": {"X-A": "b", "X-C": ""}},
    {"url": URL, "method": "POST", "json": {"a": [1, None, "b"]}},
    {"url": URL, "json": None},
    {"url": URL, "json": "text"},
    {"url": URL, "headers": {}, "expect": [200, 404]},
]
HTTP_BAD: list[Any] = [
    {},
    {"url": None},
    {"url": ""},
    {"url": "https://a.example/" + "a" * 2048},
    {"url": [URL]},
    {"url": URL, "method": "BREW"},
    {"url": URL, "method": "get"},
    {"url": URL, "headers": [["X-A", "b"]]},
    {"url": URL, "headers": {"X-A": ["b"]}},
    {"url": URL, "headers": {"X-A": None}},
    {"url": URL, "headers": {"X-A": "b" * 4097}},
    {"url": URL, "expect": []},
    {"url": URL, "expect": 200},
    {"url": URL, "expect": [99]},
    {"url": URL, "expect": [600]},
    {"url": URL, "expect": ["ok"]},
    {"url": URL, "expect": [200] * 51},
    {"url": URL, "body": "x"},
]
ACTIVITY_GOOD: list[Any] = [
    {},
    {"days": 1},
    {"days": 366},
    {"first_day": "2026-01-01", "last_day": "2026-12-31"},
]
ACTIVITY_BAD: list[Any] = [
    {"days": 0},
    {"days": 367},
    {"days": None},
    {"days": "many"},
    {"first_day": 1, "last_day": 2},
    {"first_day": None, "last_day": None},
    {"day": 1},
]
KINDS = {
    "demo.countdown": (COUNTDOWN_GOOD, COUNTDOWN_BAD),
    "http.request": (HTTP_GOOD, HTTP_BAD),
    "report.activity": (ACTIVITY_GOOD, ACTIVITY_BAD),
}
GOOD = [(name, params) for name, (good, _) in KINDS.items() for params in good]
BAD = [(name, params) for name, (_, bad) in KINDS.items() for params in bad]


def all_kinds() -> list[Kind]:
    return list(registry.kinds())


def schema_takes(kind: Kind, params: object) -> bool:
    return bool(Draft202012Validator(params_schema(kind)).is_valid(params))


def serializer_takes(kind: Kind, params: object) -> bool:
    try:
        kind.validate_params(params)
    except ValidationError:
        return False
    return True


@pytest.mark.django_db
def test_the_kinds_are_listed_with_the_schema_of_their_params() -> None:
    cache.clear()
    token = Token.objects.create(make_user(), expiry=timedelta(hours=1))[1]
    answer = APIClient(headers={"Authorization": f"Token {token}"}).get("/api/v1/job-kinds/")
    assert answer.status_code == 200
    assert set(answer.json()) == {"results"}
    listed = {kind["name"]: kind for kind in answer.json()["results"]}
    assert list(listed) == sorted(listed)
    assert listed.keys() >= {"demo.countdown", "http.request"}
    for shown in listed.values():
        assert set(shown) == {"name", "description", "params_schema", "timeout", "max_attempts", "queue", "remote"}
    countdown = registry.find_kind("demo.countdown")
    assert listed["demo.countdown"] == {
        "name": "demo.countdown",
        "description": countdown.description,
        "params_schema": params_schema(countdown),
        "timeout": 4200,
        "max_attempts": 3,
        "queue": "default",
        "remote": False,
    }


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.name)
def test_the_schema_of_the_params_is_valid_and_closed_and_stands_alone(kind: Kind) -> None:
    schema = params_schema(kind)
    Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert "$ref" not in str(schema)


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.name)
def test_a_kind_says_in_a_sentence_what_it_does(kind: Kind) -> None:
    assert kind.description.endswith(".")


@pytest.mark.parametrize(("name", "params"), GOOD)
def test_good_params_are_good_to_the_schema_and_to_the_server(name: str, params: object) -> None:
    kind = registry.find_kind(name)
    assert (schema_takes(kind, params), serializer_takes(kind, params)) == (True, True)


@pytest.mark.parametrize(("name", "params"), BAD)
def test_bad_params_are_bad_to_the_schema_and_to_the_server(name: str, params: object) -> None:
    kind = registry.find_kind(name)
    assert (schema_takes(kind, params), serializer_takes(kind, params)) == (False, False)


@pytest.mark.parametrize("kind", all_kinds(), ids=lambda kind: kind.name)
def test_a_handler_takes_every_param_that_its_schema_names(kind: Kind) -> None:
    names = kind.handler.__kwdefaults__ or {}
    code = kind.handler.__code__
    keywords = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    schema = params_schema(kind)
    if code.co_flags & inspect.CO_VARKEYWORDS:
        assert set(keywords) <= set(schema["properties"])
    else:
        assert set(keywords) == set(schema["properties"])
        assert set(keywords) - set(names) == set(schema.get("required", ()))


@pytest.mark.django_db
def test_internal_kinds_are_hidden_from_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    cache.clear()
    make_kind(monkeypatch, lambda run: None, "test.internal", internal=True)
    token = Token.objects.create(make_user(), expiry=timedelta(hours=1))[1]
    client = APIClient(headers={"Authorization": f"Token {token}"})
    assert "test.internal" not in [kind["name"] for kind in client.get("/api/v1/job-kinds/").json()["results"]]
    answer = client.post("/api/v1/jobs/", {"kind": "test.internal"}, format="json")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["code"] == "unknown"
