"""Anything sent to a webhook, signed or not, is stored or refused, and never causes an error."""

import json
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.mail.mailgun_webhooks import URL, make_attempt, make_event, post, sign

pytestmark = pytest.mark.django_db

FEWER = settings(max_examples=30)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\0") | st.just("\ud800")
scalars |= st.sampled_from([10**400, -(10**30), "9" * 5000, "0197b3a0-0000-7000-8000-000000000000", "<a@b>", "ä"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = ["event", "id", "timestamp", "recipient", "domain", "user-variables", "message", "severity", "reason"]
FIELDS += ["delivery-status", "flags", "reject", "client-info", "tags", "url", "legacy"]
LEGACY = [
    "event",
    "recipient",
    "domain",
    "code",
    "error",
    "reason",
    "Message-Id",
    "message-headers",
    "url",
    "attempt_id",
]


def answered(answer: HttpResponse) -> None:
    assert answer.status_code in (200, 406), answer.content
    if answer.status_code == 406:
        assert answer["Content-Type"] == "application/problem+json"


@FEWER
@given(changes=st.dictionaries(st.sampled_from(FIELDS), values, max_size=4), whole=st.booleans())
def test_a_signed_event_with_anything_in_it(changes: dict[str, Any], whole: bool) -> None:
    data = {**(make_event(make_attempt()) if whole else {"event": "failed"}), **changes}
    answered(post({"signature": sign(), "event-data": data}))


@FEWER
@given(data=values)
def test_anything_as_signed_event_data(data: Any) -> None:
    answered(post({"signature": sign(), "event-data": data}))


@FEWER
@given(block=st.dictionaries(st.sampled_from(["timestamp", "token", "signature"]), values), rest=values)
def test_anything_as_signature(block: dict[str, Any], rest: Any) -> None:
    answered(post({"signature": {**sign(), **block}, "event-data": rest}))


@FEWER
@given(timestamp=scalars, token=st.text(max_size=120))
def test_a_right_signature_over_any_timestamp_and_token(timestamp: Any, token: str) -> None:
    try:
        block = sign(timestamp, token)
    except UnicodeError:
        return
    answered(post({"signature": block, "event-data": make_event(make_attempt())}))


@FEWER
@given(
    body=st.binary(max_size=300) | values.map(lambda value: json.dumps(value).encode()),
    content_type=st.text(max_size=40),
)
def test_any_body_of_any_type(body: bytes, content_type: str) -> None:
    known = ["application/json", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"]
    odd = [
        "application/json; charset=nonsense",
        "application/x-www-form-urlencoded; charset=utf-16",
        "multipart/form-data",
    ]
    sent = content_type.encode("ascii", "ignore").decode().replace("\n", "").replace("\r", "")
    for kind in [*known, *odd, sent]:
        answered(post(body, content_type=kind))


@FEWER
@given(fields=st.dictionaries(st.sampled_from(LEGACY), st.text(max_size=50)), name=st.text(max_size=10))
def test_a_signed_form_with_anything_in_it(fields: dict[str, str], name: str) -> None:
    encodable = {key: value.encode("utf-8", "ignore").decode() for key, value in {**fields, name: "x"}.items()}
    answered(Client().post(URL, {"event": "delivered", **encodable, **sign()}))


@FEWER
@given(value=st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=80), given=st.binary())
def test_any_header(value: str, given: bytes) -> None:
    headers = {
        "Authorization": value,
        "X-Request-ID": value,
        "Accept": value,
        "Cookie": value,
        "Content-Encoding": value,
    }
    answered(post({"signature": sign(), "event-data": make_event(make_attempt())}, headers=headers))
