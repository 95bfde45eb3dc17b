"""What POST mail/messages/ refuses: each bad value is named, and nothing is stored."""

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from django.http import HttpResponse
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from jobs.models import Job
from mail.models import Message
from tests.support.api_clients import assert_problem
from tests.support.mail.messages import MAIL, MESSAGES, MINIMAL, post

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db


def refusals(answer: HttpResponse) -> dict[str, str]:
    """The code of each refused field; nothing may have been stored."""
    body = assert_problem(answer, 400)
    assert not Message.objects.exists()
    assert not Job.objects.exists()
    return {error["field"]: error["code"] for error in body["errors"]}


def file(**fields: Any) -> dict[str, Any]:
    return {"filename": "a.txt", "content_type": "text/plain", "content": "SGk="} | fields


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"to": ...}, "to"),
        ({"subject": ...}, "subject"),
        ({"text": ...}, "text"),
        ({"text": ""}, "text"),
        ({"text": None, "html": None}, "text"),
        ({"template": "hello"}, "template"),
        ({"text": ..., "template": "no-such"}, "template"),
        ({"sendAt": None}, "sendAt"),
        ({"importance": "urgent"}, "importance"),
        ({"context": []}, "context"),
        ({"send_at": "soon"}, "send_at"),
        ({"send_at": "9999-12-31T23:59:59Z"}, "send_at"),
        ({"send_at": "9999-12-31T23:59:59-14:00"}, "send_at"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expires_at"),
        ({"send_at": "2100-01-01T00:00:00Z", "expires_at": "2099-12-31T00:00:00Z"}, "expires_at"),
        ({"send_at": "2100-01-01T00:00:00Z", "expires_at": "2100-01-01T00:00:00Z"}, "expires_at"),
        ({"reply_to": "ada@example.org"}, "reply_to"),
        ({"reply_to": ["ada@example.org"] * 11}, "reply_to"),
        ({"reply_to": ["ada@example.org", "nobody"]}, "reply_to.1"),
        ({"tags": ["a", "b", "c", "d"]}, "tags"),
        ({"tags": ["a" * 129]}, "tags.0"),
        ({"tags": [""]}, "tags.0"),
        ({"metadata": {"a": {"b": "c"}}}, "metadata.a"),
        ({"metadata": {"attempt_id": "x"}}, "metadata.attempt_id"),
        ({"metadata": {"a": "x" * 900, "b": "y" * 900} | {str(n): "z" * 990 for n in range(16)}}, "metadata"),
        ({"headers": {f"X-{n}": "z" * 990 for n in range(16)}}, "headers"),
        ({"headers": {f"X-{n}": "" for n in range(3000)}}, "headers"),
        (
            {
                "headers": {f"X-{n}": "z" * 990 for n in range(15)},
                "reply_to": ["a" * 60 + "@example.org"] * 10,
            },
            "headers",
        ),
        ({"text": "x" * (1024 * 1024 + 1)}, "text"),
        ({"subject": "x" * 999}, "subject"),
    ],
)
def test_a_bad_value_is_named(api: APIClient, fields: dict[str, Any], field: str) -> None:
    assert set(refusals(post(api, **fields))) == {field}


def test_metadata_does_not_count_towards_the_size_of_the_headers(api: APIClient) -> None:
    long = {f"X-{n}": "z" * 990 for n in range(15)}
    assert post(api, headers=long, metadata=long).status_code == 202


@pytest.mark.parametrize(
    "to",
    [
        "",
        "ada",
        "ada@",
        "@example.org",
        "ada@example",
        "ada@localhost",
        "ada@@example.org",
        "ada@exa mple.org",
        "ada@example..org",
        "ada@-example.org",
        ".ada@example.org",
        "ada@[127.0.0.1]",
        "ada@nowhere.invalid",
        "ada@example.org, grace@example.org",
        "ada@example.org; grace@example.org",
        "<ada@example.org> <grace@example.org>",
        "Ada <ada@example.org",
        "Ada, Countess <ada@example.org>",
        "adá@example.org",
        "a" * 65 + "@example.org",
        "ada@" + "a" * 64 + ".org",
        ["ada@example.org"],
        {"email": "ada@example.org"},
        5,
    ],
)
def test_what_is_not_one_address_is_refused(api: APIClient, to: Any) -> None:
    assert set(refusals(post(api, to=to))) == {"to"}


def test_headers_that_differ_only_in_case_are_duplicates(api: APIClient) -> None:
    refused = refusals(post(api, headers={"X-Thread": "1", "x-thread": "2", "X-Other": "3"}))
    assert refused == {"headers.x-thread": "duplicate"}


@pytest.mark.parametrize(
    ("to", "address"),
    [
        ("Ada@Example.ORG", "ada@example.org"),
        (" ada@example.org ", "ada@example.org"),
        ("<ada@example.org>", "ada@example.org"),
        ('"Lovelace, Ada" <ada@example.org>', "ada@example.org"),
        ("Adá Löwe <ada@example.org>", "ada@example.org"),
        ("ada+tag@example.org", "ada+tag@example.org"),
        ("ada@müller.example", "ada@xn--mller-kva.example"),
        ("ada@XN--MLLER-KVA.example", "ada@xn--mller-kva.example"),
        ("ada@straße.example", "ada@xn--strae-oqa.example"),
        ("ada@some.test", "ada@some.test"),
    ],
)
def test_an_address_is_normalised_whatever_way_it_is_written(api: APIClient, to: str, address: str) -> None:
    assert post(api, to=to).status_code == 202
    message = Message.objects.get()
    assert (message.to, message.address) == (to.strip(), address)


@pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x1b", "\x7f"])
def test_line_breaks_cannot_inject_header_fields(api: APIClient, end: str) -> None:
    evil = f"A{end}Bcc: grace@example.org"
    for fields in (
        {"subject": evil},
        {"to": f"{evil} <ada@example.org>"},
        {"to": f"ada@example.org{end}"},
        {"from": f"{evil} <legwork@mg.example.org>"},
        {"headers": {"X-A": evil}},
        {"headers": {evil: "b"}},
        {"tags": [evil]},
        {"metadata": {"a": evil}},
        {"metadata": {evil: "a"}},
        {"attachments": [file(filename=evil)]},
        {"attachments": [file(content_type=evil)]},
        {"subject": "Hi {{ name }}", "context": {"name": evil}},
        {"reply_to": [f"{evil} <ada@example.org>"]},
    ):
        assert len(refusals(post(api, **fields))) == 1, fields


OURS = (
    "From to CC Bcc Reply-To Subject Sender Return-Path Message-ID Date MIME-Version Content-Type Received"
    " Content-Transfer-Encoding DKIM-Signature List-Unsubscribe X-Mailgun-Tag"
)


@pytest.mark.parametrize("name", [*OURS.split(), "", "X A", "X:A", "Ä", "X" * 101])
def test_reserved_and_invalid_header_fields_are_refused(api: APIClient, name: str) -> None:
    assert set(refusals(post(api, headers={name: "x"}))) == {f"headers.{name}"}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"filename": "../a"}, "filename"),
        ({"filename": "a\\b"}, "filename"),
        ({"filename": ".."}, "filename"),
        ({"filename": ""}, "filename"),
        ({"filename": "a" * 256}, "filename"),
        ({"content": "SGk"}, "content"),
        ({"content": "SG k="}, "content"),
        ({"content": "SGk=\n"}, "content"),
        ({"content": "äöü"}, "content"),
        ({"content": 5}, "content"),
        ({"content": None}, "content"),
        ({"content_type": "text"}, "content_type"),
        ({"content_type": "text/plain; a"}, "content_type"),
        ({"path": "a"}, "path"),
    ],
)
def test_a_bad_attachment_is_named(api: APIClient, fields: dict[str, Any], field: str) -> None:
    assert set(refusals(post(api, attachments=[file(), file(**fields)]))) == {f"attachments.1.{field}"}


def test_many_and_large_attachments_are_taken_up_to_the_limit_of_the_body(api: APIClient) -> None:
    content = base64.b64encode(b"x" * 3_000_000).decode()
    assert post(api, attachments=[file(content=content)] * 2).status_code == 202
    assert_problem(post(api, attachments=[file(content=content)] * 3), 413)
    assert refusals_of_attachments(post(api, attachments=[file()] * 101)) == {"attachments"}


def refusals_of_attachments(answer: HttpResponse) -> set[str]:
    return {error["field"] for error in assert_problem(answer, 400)["errors"]}


@pytest.mark.parametrize("sender", ["eve@example.org", "Legwork <legwork@mg.example.org.evil.example>", "nobody"])
def test_mail_is_sent_from_our_own_domains_only(api: APIClient, sender: str) -> None:
    assert set(refusals(post(api, **{"from": sender}))) == {"from"}


def test_another_domain_may_be_allowed(api: APIClient, settings: Any) -> None:
    settings.MAIL_FROM_DOMAINS = ["News.example.org"]
    assert post(api, **{"from": "News <n@news.example.org>"}).json()["from"] == "News <n@news.example.org>"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"text": "{% if %}"}, "text"),
        ({"html": "{{ a|no_such }}"}, "html"),
        ({"subject": "{% load static %}"}, "subject"),
        ({"subject": "{{ nothing }}"}, "subject"),
        ({"subject": "{{ a }}", "context": {"a": "x" * 999}}, "subject"),
        ({"text": "{{ 1|divisibleby:0 }}"}, "text"),
        ({"text": "{{ nothing }}"}, "text"),
        ({"text": " \n"}, "text"),
        ({"text": ..., "html": "{% if nothing %}<p>x</p>{% endif %}\n"}, "html"),
    ],
)
def test_a_broken_template_is_named(api: APIClient, fields: dict[str, Any], field: str) -> None:
    assert refusals(post(api, **fields)) == {field: "template"}


@pytest.mark.parametrize("body", [b'{"to": "\\u0000"}', b'{"to": "\\ud800"}', b"[]", b"5", b"null", b"{", b"\xff"])
def test_a_body_that_is_no_message_is_refused(api: APIClient, body: bytes) -> None:
    assert_problem(api.generic("POST", MESSAGES, body, content_type="application/json"), 400)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
sources = st.text() | st.lists(
    st.sampled_from(
        ["{{ a }}", "{% for x in a %}", "{% endfor %}", "{{ a.b.0|join:a }}", "{% if a %}", "{%", "}}", "|x"]
    )
).map("".join)
near_misses = st.fixed_dictionaries(
    {},
    optional={
        "to": st.emails() | json_values,
        "subject": sources | json_values,
        "text": sources | json_values,
        "html": sources | json_values,
        "context": st.dictionaries(st.sampled_from(["a", "x"]), json_values) | json_values,
        "headers": st.dictionaries(st.text(max_size=5), json_values) | json_values,
        "attachments": st.lists(st.fixed_dictionaries({"filename": st.text(), "content": st.text()})) | json_values,
        **dict.fromkeys(["from", "reply_to", "template", "tags", "metadata"], json_values),
        **dict.fromkeys(["importance", "send_at", "expires_at"], json_values | st.datetimes().map(str)),
    },
)


@hypothesis_settings(max_examples=80)
@given(fields=near_misses | json_values)
def test_no_json_makes_the_server_fail(api: APIClient, fields: Any) -> None:
    body = MINIMAL | fields if isinstance(fields, dict) else fields
    answer = api.generic("POST", MESSAGES, json.dumps(body).encode(), content_type="application/json")
    assert answer.status_code in (202, 400), answer.content


parameters = st.tuples(
    st.sampled_from(["status", "to", "tag", "importance", "created_after", "cursor", "page_size"])
    | st.text(max_size=5),
    st.text(max_size=20) | st.emails() | st.integers().map(str) | st.sampled_from(["queued", "bulk", "cD0x", "cj0x"]),
)
PLACES = [MESSAGES, f"{MAIL}templates/", f"{MAIL}suppressions/"]


@hypothesis_settings(max_examples=60)
@given(query=st.lists(parameters, max_size=3), text=st.text(max_size=20))
def test_no_query_and_no_path_makes_the_server_fail(api: APIClient, query: list[tuple[str, str]], text: str) -> None:
    escaped = "&".join(
        f"{quote(name, errors='surrogatepass')}={quote(value, errors='surrogatepass')}" for name, value in query
    )
    for place in PLACES:
        assert api.get(f"{place}?{escaped}").status_code in (200, 400)
    assert api.get(f"{MAIL}suppressions/{quote(text, safe='', errors='surrogatepass')}/").status_code in (200, 400, 404)
