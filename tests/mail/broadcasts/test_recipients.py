"""The recipients of a broadcast, as a CSV file or a list in JSON names them."""

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from mail.addresses.csv_files import BadFile
from mail.broadcasts.recipients import read_csv
from mail.models import Broadcast, Message
from tests.support.api_clients import assert_problem, client, make_token
from tests.support.factories import make_user
from tests.support.mail.broadcasts import BROADCASTS, allow_normal, make_template, run, upload

pytestmark = pytest.mark.django_db

JSON = "application/json"
FUZZ = settings(max_examples=60)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["to", "context", "name"]), inner | st.emails(), max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture
def ada() -> User:
    return make_user()


@pytest.fixture
def api(ada: User) -> APIClient:
    make_template(ada)
    allow_normal(ada)
    return client(make_token(ada))


@pytest.mark.parametrize(
    "content",
    [
        "to,name\nreader0@example.org,R0\nreader1@example.org,R1\n",
        "\ufeffto,name\r\nreader0@example.org,R0\r\n\r\nreader1@example.org,R1",
        'name;To;;\n"R0"; reader0@example.org ;x;y\nR1;reader1@example.org;;\n',
        '"name";"first,last,born";to\nR0;x;reader0@example.org\nR1;y,z;reader1@example.org\n',
        '"a;b;c",to,name\n1,reader0@example.org,R0\n2,reader1@example.org,R1\n',
        "to\tname\nreader0@example.org\tR0\nreader1@example.org\tR1\n",
    ],
)
def test_a_file_names_recipients_and_their_contexts(api: APIClient, content: str) -> None:
    assert run(upload(api, content, importance="normal"))["accepted"] == 2
    made = Message.objects.order_by("row").values_list("row", "address", "subject", "importance")
    assert list(made) == [(n + 1, f"reader{n}@example.org", f"News, R{n}", "normal") for n in range(2)]


def test_bad_rows_of_a_file_are_reported_by_number(api: APIClient) -> None:
    result = run(upload(api, "to,name\na@example.org\n,x\nb@example.org,B\nnobody,N\n"))
    assert (result["rows"], result["accepted"]) == (4, 1)
    assert [(refused["row"], refused["errors"][0]["code"]) for refused in result["errors"]] == [
        (1, "columns"),
        (2, "required"),
        (4, "invalid"),
    ]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"to,name\n",
        b"name\nAda\n",
        b"to,to\na@example.org,b\n",
        "to,näme\na@example.org,b\n".encode("latin-1"),
        "to,name\na@example.org,b\n".encode("utf-16"),
        b"to,name\na@example.org,\0\n",
        b'to,name\n"a@example.org,b\n',
        b'to,name\n"a"b,c\n',
        b"to\n" + b"x" * 200_000,
        b"\x89PNG\r\n\x1a\n",
    ],
    ids=lambda content: repr(content[:30]),
)
def test_a_file_that_cannot_be_read_is_refused(api: APIClient, content: bytes) -> None:
    answer = upload(api, content)
    assert [error["field"] for error in assert_problem(answer, 400)["errors"]] == ["file"]
    assert not Broadcast.objects.exists()


def test_a_file_may_have_a_hundred_thousand_rows_and_no_more() -> None:
    rows = b"a@example.org\n" * 100_000
    assert len(read_csv(b"to\n" + rows).rows) == 100_000
    with pytest.raises(BadFile):
        read_csv(b"to\n" + rows + b"b@example.org\n")


@FUZZ
@given(content=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: f"to,name\n{text}".encode()))
def test_no_file_makes_the_server_fail(api: APIClient, content: bytes) -> None:
    answer = upload(api, content)
    assert answer.status_code in (202, 400), answer.content
    if answer.status_code == 202:
        run(answer)


@FUZZ
@given(items=st.lists(json_values, min_size=1, max_size=4))
def test_no_list_makes_the_server_fail(api: APIClient, items: list[Any]) -> None:
    answer = api.generic("POST", BROADCASTS, json.dumps({"template": "news", "recipients": items}).encode(), JSON)
    assert answer.status_code in (202, 400), answer.content
    if answer.status_code == 202:
        assert run(answer)["rows"] == len(items)
