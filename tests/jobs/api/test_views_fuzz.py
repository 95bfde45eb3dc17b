"""Whatever is sent to jobs/, JSON or bytes, body or query: it is accepted or refused, and never a 500."""

import json
from datetime import timedelta, timezone

import pytest
from django.http import HttpResponse
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from project.models import Token
from tests.support.factories import make_user

pytestmark = pytest.mark.django_db

JOBS = "/api/v1/jobs/"
FEWER = settings(max_examples=60)


@pytest.fixture
def api() -> APIClient:
    key = Token.objects.create(make_user())[1]
    return APIClient(raise_request_exception=False, headers={"Authorization": f"Token {key}"})


def post(api: APIClient, body: bytes) -> HttpResponse:
    return api.generic("POST", JOBS, body, content_type="application/json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
# Offsets instead of named time zones, which differ from machine to machine.
offsets = st.integers(-24 * 60 + 1, 24 * 60 - 1).map(lambda minutes: timezone(timedelta(minutes=minutes)))
times = st.datetimes(timezones=offsets).map(lambda time: time.isoformat())
near_misses = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["demo.countdown", "http.request"]) | json_values,
        "params": st.fixed_dictionaries({}, optional={"seconds": json_values, "url": json_values, "json": json_values})
        | json_values,
        "run_at": times | json_values,
        "priority": json_values,
        "timeout": json_values,
        "max_attempts": json_values,
        "unique_key": json_values,
    },
)
parameters = st.tuples(
    st.sampled_from(["status", "kind", "created_after", "created_before", "page_size", "cursor"]) | st.text(max_size=5),
    st.text(max_size=20) | times | st.integers().map(str) | st.sampled_from(["queued", "bz0x", "cD0x", "cj0x"]),
)


@FEWER
@given(body=near_misses | json_values)
def test_no_json_makes_the_server_fail(api: APIClient, body: object) -> None:
    answer = post(api, json.dumps(body).encode())
    assert answer.status_code in (202, 400, 409), answer.content


@FEWER
@given(body=st.binary(max_size=200))
def test_no_bytes_make_the_server_fail(api: APIClient, body: bytes) -> None:
    assert post(api, body).status_code == 400


@FEWER
@given(query=st.lists(parameters, max_size=4))
def test_no_parameters_make_the_server_fail(api: APIClient, query: list[tuple[str, str]]) -> None:
    escaped = "&".join(f"{escape(name)}={escape(value)}" for name, value in query)
    assert api.get(f"{JOBS}?{escaped}").status_code in (200, 400)


@FEWER
@given(query=st.binary(max_size=60))
def test_no_query_makes_the_server_fail(api: APIClient, query: bytes) -> None:
    answer = api.get(JOBS, QUERY_STRING=query.decode("latin-1"))
    assert answer.status_code in (200, 400)


def escape(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode("utf-8", "surrogatepass"))
