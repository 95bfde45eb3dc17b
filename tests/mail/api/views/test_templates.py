"""mail/templates/: stored templates and their preview."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from rest_framework.test import APIClient

from mail.models import Template
from tests.support.api_clients import assert_problem, client, make_token
from tests.support.factories import make_user
from tests.support.mail.messages import MAIL

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

TEMPLATES = f"{MAIL}templates/"
HELLO = {"subject": "Hi {{ name }}", "text": "Dear {{ name }}", "html": "<b>{{ name }}</b>"}


def test_a_template_is_made_read_replaced_and_forgotten(api: APIClient) -> None:
    made = api.post(TEMPLATES, {"name": "hello"} | HELLO)
    assert (made.status_code, made["Location"]) == (201, made.json()["url"])
    assert made.json()["url"].endswith("/templates/hello/")
    read = api.get(made["Location"])
    assert read.json() == made.json()
    assert {name: read.json()[name] for name in HELLO} == HELLO
    assert api.get(made["Location"], headers={"If-None-Match": read["ETag"]}).status_code == 304
    replaced = api.put(made["Location"], {"subject": "S", "text": "T"})
    assert (replaced.status_code, replaced.json()["subject"], replaced.json()["html"]) == (200, "S", None)
    assert [shown["name"] for shown in api.get(TEMPLATES).json()["results"]] == ["hello"]
    assert api.delete(made["Location"]).status_code == 204
    for answer in (api.get(made["Location"]), api.delete(made["Location"])):
        assert_problem(answer, 404)


@pytest.mark.parametrize("method", ["put", "post"])
def test_a_template_can_be_made_at_its_url(api: APIClient, method: str) -> None:
    answer = getattr(api, method)(f"{TEMPLATES}hello/", HELLO)
    assert (answer.status_code, answer["Location"]) == (201, answer.json()["url"])


def test_a_name_is_taken_once(api: APIClient) -> None:
    made = api.post(TEMPLATES, {"name": "hello"} | HELLO)
    for again in (api.post(TEMPLATES, {"name": "hello"} | HELLO), api.post(f"{TEMPLATES}hello/", HELLO)):
        assert_problem(again, 409)
        assert again["Location"] == made["Location"]
    other = client(make_token(make_user("grace")))
    assert other.post(TEMPLATES, {"name": "hello"} | HELLO).status_code == 201


def test_the_same_key_makes_one_template(api: APIClient) -> None:
    key = {"Idempotency-Key": "k"}
    answers = [api.post(TEMPLATES, {"name": "hello"} | HELLO, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[1]["Location"] == answers[0]["Location"]


def test_the_template_of_another_user_is_not_there(api: APIClient) -> None:
    Template.objects.create(user=make_user("grace"), name="hello", **HELLO)
    path = f"{TEMPLATES}hello/"
    for answer in (api.get(path), api.delete(path), api.post(f"{path}preview/", {})):
        assert_problem(answer, 404)
    assert api.get(TEMPLATES).json()["results"] == []


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"name": ...}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "a" * 101}, "name"),
        ({"name": "ä"}, "name"),
        ({"subject": ...}, "subject"),
        ({"subject": "a\nb"}, "subject"),
        ({"subject": "{% include 'a' %}"}, "subject"),
        ({"text": ..., "html": ...}, "text"),
        ({"text": "{{ a|no_such }}"}, "text"),
        ({"html": "{% if a %}"}, "html"),
        ({"body": "a"}, "body"),
    ],
)
def test_a_broken_template_is_named_and_not_stored(api: APIClient, fields: dict[str, Any], field: str) -> None:
    body = {name: value for name, value in ({"name": "hello"} | HELLO | fields).items() if value is not ...}
    answer = api.post(TEMPLATES, body)
    assert [error["field"] for error in assert_problem(answer, 400)["errors"]] == [field]
    assert not Template.objects.exists()


def test_a_template_with_too_long_a_name_is_not_found(api: APIClient) -> None:
    path = f"{TEMPLATES}{'a' * 101}/"
    for answer in (api.get(path), api.put(path, HELLO), api.post(path, HELLO)):
        assert_problem(answer, 404)


def test_a_preview_shows_what_would_be_sent(api: APIClient, ada: User) -> None:
    Template.objects.create(user=ada, name="hello", **HELLO)
    answer = api.post(f"{TEMPLATES}hello/preview/", {"context": {"name": "<A>"}})
    assert answer.status_code == 200
    assert answer.json() == {"subject": "Hi <A>", "text": "Dear <A>", "html": "<b>&lt;A&gt;</b>"}
    assert api.post(f"{TEMPLATES}hello/preview/", {}).json()["text"] == "Dear "


def test_a_preview_that_cannot_be_rendered_says_why(api: APIClient, ada: User) -> None:
    Template.objects.create(user=ada, name="hello", subject="{{ a }}", text="b")
    answer = api.post(f"{TEMPLATES}hello/preview/", {"context": {"a": "x\ny"}})
    assert assert_problem(answer, 400)["errors"][0]["field"] == "template"
    assert_problem(api.post(f"{TEMPLATES}hello/preview/", {"context": 5}), 400)
