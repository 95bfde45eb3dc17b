"""Templates: the sandbox that they are rendered in, and mail/templates/."""

import time
from contextlib import suppress
from typing import Any

import pytest
from django.contrib.auth.models import User
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from mail.models import Template
from mail.rendering.budget import MAX_CHARACTERS, BadTemplate, RenderBudget
from mail.rendering.sandbox import SandboxedTemplate, render_text
from tests.support.api_clients import assert_problem, client, make_token
from tests.support.factories import make_user
from tests.support.mail.messages import MAIL

pytest_plugins = ["tests.support.api_fixtures"]
pytestmark = pytest.mark.django_db

TEMPLATES = f"{MAIL}templates/"
HELLO = {"subject": "Hi {{ name }}", "text": "Dear {{ name }}", "html": "<b>{{ name }}</b>"}


# --- the sandbox ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "context", "text"),
    [
        ("{{ a.b.0.c }}", {"a": {"b": [{"c": 1}]}}, "1"),
        ("{% for k, v in a.items %}{{ k }}={{ v }};{% endfor %}", {"a": {"x": 1, "y": 2}}, "x=1;y=2;"),
        ("{% for x in a %}{{ forloop.counter }}{{ x }}{% empty %}none{% endfor %}", {"a": ["p", "q"]}, "1p2q"),
        ("{% if a > 3 and b %}yes{% else %}no{% endif %}", {"a": 4, "b": True}, "yes"),
        ("{% with a as b %}{{ b|upper|truncatechars:3 }}{% endwith %}", {"a": "abcdef"}, "AB…"),
        ("{{ a|join:', ' }} {{ a|length }} {{ p|floatformat:2 }}", {"a": ["x", "y"], "p": 1.5}, "x, y 2 1.50"),
        ("{{ missing }}{{ a.missing }}{{ a|default:'-' }}", {"a": ""}, "-"),
        ("{% cycle 'a' 'b' as c %}{% cycle c %}{% verbatim %}{{ x }}{% endverbatim %}{# no #}", {}, "ab{{ x }}"),
        ("{{ a }} {{ b }} {{ c }}", {"a": None, "b": True, "c": {"d": [1]}}, "None True {'d': [1]}"),
        ("nothing { to % do", {}, "nothing { to % do"),
    ],
)
def test_the_language_is_djangos(source: str, context: dict[str, Any], text: str) -> None:
    assert render_text(source, context) == text


def test_only_html_is_escaped() -> None:
    assert render_text("{{ a }}", {"a": "<&>"}) == "<&>"
    assert render_text("{{ a }}", {"a": "<&>"}, autoescape=True) == "&lt;&amp;&gt;"
    assert render_text("{{ a|safe }}", {"a": "<b>"}, autoescape=True) == "<b>"


@pytest.mark.parametrize(
    "source",
    [
        "{% load static %}",
        "{% include 'admin/base.html' %}",
        "{% extends 'admin/base.html' %}",
        "{% debug %}",
        "{% csrf_token %}",
        "{% url 'admin:index' %}",
        "{% lorem 99999999 %}",
        "{% regroup a by b as c %}",
        "{% block a %}{% endblock %}",
        "{{ a|stringformat:'999999999d' }}",
        "{{ a|ljust:'999999999' }}",
        "{{ a|rjust:'999999999' }}",
        "{{ a|center:'999999999' }}",
        "{{ a|urlize }}",
        "{{ a|pprint }}",
        "{{ a|date:'Y' }}",
        "{{ a.__class__ }}",
        "{{ _a }}",
        "{% if %}",
        "{% for x in %}{% endfor %}",
        "{% if a %}",
        "{{ a b }}",
        "{{ }}",
        "{{ a|join:b|floatformat:999999999 }}" * 4000,
        "{% if a %}" * 2000 + "{% endif %}" * 2000,
        "{%" * 400_000,
        "{{" * 400_000,
        "x" * (MAX_CHARACTERS + 1),
    ],
    ids=lambda source: source[:40],
)
def test_what_the_sandbox_does_not_have_is_refused_at_once(source: str) -> None:
    begun = time.thread_time()
    with pytest.raises(BadTemplate) as refusal:
        render_text(source, {"a": "x", "b": "y"})
    assert str(refusal.value)
    assert time.thread_time() - begun < 2


ATTRIBUTES = (
    "upper format clear pop keys values copy encode bit_length real append render template template.engine"
    " render_context dicts autoescape push flatten items.sort"
)


@pytest.mark.parametrize("name", ATTRIBUTES.split())
def test_no_attribute_and_no_call_is_reached(name: str) -> None:
    context = {"s": "text", "n": 5, "l": [1], "d": {"a": 1}}
    source = "".join(f"{{{{ {variable}.{name} }}}}" for variable in context) + f"{{{{ {name} }}}}"
    assert render_text(source + "{{ d.a }}", context) == "1"
    assert context == {"s": "text", "n": 5, "l": [1], "d": {"a": 1}}


LETTERS = {"a": list("abcdefghij") * 100, "s": "x" * 1000, "l": ["x" * 1000], "n": 10**300}
DOUBLED = "{% with s=s|add:s %}" * 40 + "{{ s }}" + "{% endwith %}" * 40


@pytest.mark.parametrize(
    "source",
    [
        "{% for x in a %}{% for y in a %}{% for z in a %}.{% endfor %}{% endfor %}{% endfor %}",
        "{% for x in a %}{% for y in a %}{% for z in a %}{% endfor %}{% endfor %}{% endfor %}",
        "{% for x in a %}{% for y in a %}{% for z in a %}{% if x %}{% endif %}{% endfor %}{% endfor %}{% endfor %}",
        DOUBLED,
        "{% with l=l|add:l %}" * 40 + "{{ l }}" + "{% endwith %}" * 40,
        "{% with l=l|add:l %}" * 10 + "{{ l|join:s }}" + "{% endwith %}" * 10,
        "{{ '\\\\'" + "|addslashes" * 64 + " }}",
        "{{ n|floatformat:99999 }}",
        "{{ s|make_list|join:s|make_list|join:s }}",
        "{% filter addslashes" + "|addslashes" * 64 + " %}{{ '\\\\' }}{% endfilter %}",
        "{% for x in a %}{% for y in a %}{{ s|upper|lower|length }}{% endfor %}{% endfor %}",
        "{% for x in a %}{% ifchanged %}{{ x }}{% for y in a %}{{ s }}{% endfor %}{% endifchanged %}{% endfor %}",
    ],
    ids=lambda source: source[:60],
)
def test_what_grows_without_end_is_stopped_soon(source: str) -> None:
    begun = time.thread_time()
    with pytest.raises(BadTemplate):
        render_text(source, LETTERS)
    assert time.thread_time() - begun < 3


def test_a_result_that_cannot_be_stored_is_refused() -> None:
    with pytest.raises(BadTemplate, match="cannot be stored"):
        render_text("{{ a }}{{ b }}", {"a": "\0"})


def test_several_renderings_may_have_one_budget() -> None:
    budget = RenderBudget(seconds=0.05)

    def render_often() -> None:
        for _ in range(1000):
            render_text("{% for x in a %}{{ x }}{% endfor %}", LETTERS, budget)

    with pytest.raises(BadTemplate, match="too long"):
        render_often()


def test_a_compiled_template_can_be_rendered_again() -> None:
    template, budget = SandboxedTemplate("{% for x in a %}{{ x }}{% endfor %}"), RenderBudget()
    assert [template.render_text({"a": a}, budget) for a in ([1], [2, 3])] == ["1", "23"]


PIECES = [
    *("{{ a }}", "{{ b.c }}", "{% for x in a %}", "{% endfor %}", "{% if a %}", "{% endif %}", "{% with a=b %}", "{{"),
    *("{% endwith %}", "{% cycle 'a' b %}", "{{ a|add:b }}", "{{ b|slice:'1:'|join:a }}", "{#", "%}", "é\n"),
    *("{{ a|slice:':-1'|first }}", "{% widthratio a b 100 %}", "{{ b|get_digit:2|yesno:'a,b' }}", "{% now 'Y' %}"),
    *("{% firstof a b %}", "{{ _('a')|default:_('b') }}", "{{ 1e }}", "{{ a|"),
]
pieces = st.sampled_from(PIECES)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@hypothesis_settings(max_examples=300)
@given(source=st.lists(pieces | st.text(max_size=4), max_size=8).map("".join), a=values, b=values)
def test_every_template_is_rendered_or_refused(source: str, a: Any, b: Any) -> None:
    with suppress(BadTemplate):
        assert isinstance(render_text(source, {"a": a, "b": b}), str)


# --- the API -------------------------------------------------------------------------------------------------------


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
def test_a_template_can_be_made_where_it_is_to_be(api: APIClient, method: str) -> None:
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


def test_a_long_name_is_not_there(api: APIClient) -> None:
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
