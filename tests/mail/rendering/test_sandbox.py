"""The sandbox that templates are rendered in."""

import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mail.rendering.budget import MAX_CHARACTERS, BadTemplate, RenderBudget
from mail.rendering.sandbox import SandboxedTemplate, render_text


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


def test_a_tag_that_is_too_long_is_refused_before_it_is_compiled() -> None:
    with pytest.raises(BadTemplate, match="more than 10000 characters"):
        SandboxedTemplate("{{ a" + "|upper" * 2000 + " }}")
    assert render_text("{{ a" + "|upper" * 1000 + " }}", {"a": "x"}) == "X"


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
def test_features_that_the_sandbox_lacks_are_refused_at_once(source: str) -> None:
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
def test_output_that_grows_without_end_is_stopped_soon(source: str) -> None:
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


def test_intermediate_output_counts_though_the_result_is_short() -> None:
    source = "{% for x in a %}{% filter slice:':1' %}{{ s }}{% endfilter %}{% endfor %}"
    context = {"s": "x" * MAX_CHARACTERS}
    assert render_text(source, context | {"a": "123"}, RenderBudget(seconds=60)) == "xxx"
    with pytest.raises(BadTemplate, match="too long"):
        render_text(source, context | {"a": "12345678901"}, RenderBudget(seconds=60))


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
