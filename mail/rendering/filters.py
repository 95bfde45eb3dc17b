"""The tags and filters of the sandbox: Django's own, without those that load, call or grow without bound."""

from collections.abc import Callable
from functools import wraps
from typing import Any, Protocol

from django.template import Library
from django.template.defaultfilters import register as all_filters
from django.template.defaulttags import register as all_tags

from mail.rendering.budget import MAX_CHARACTERS, BadTemplate, RenderBudget

# fmt: off
TAGS = (
    "autoescape", "comment", "cycle", "filter", "firstof", "for", "if", "ifchanged", "now", "resetcycle",
    "spaceless", "templatetag", "verbatim", "widthratio", "with",
)
FILTERS = (
    "add", "addslashes", "capfirst", "cut", "default", "default_if_none", "divisibleby", "escape", "escapejs",
    "filesizeformat", "first", "floatformat", "force_escape", "get_digit", "iriencode", "join", "last", "length",
    "linebreaks", "linebreaksbr", "linenumbers", "lower", "make_list", "pluralize", "safe", "safeseq", "slice",
    "slugify", "title", "truncatechars", "truncatewords", "upper", "urlencode", "wordcount", "wordwrap", "yesno",
)
# fmt: on
MAX_DECIMAL_PLACES = 100
"""Of floatformat."""


class HasBudget(Protocol):
    """A template; each rendering sets the budget that its filters spend."""

    budget: RenderBudget


def sandbox_library(template: HasBudget) -> Library:
    """The tags and filters that this template may use."""
    filters = {name: all_filters.filters[name] for name in FILTERS} | BOUNDED_FILTERS
    library = Library()
    library.tags = {name: all_tags.tags[name] for name in TAGS}
    library.filters = {name: _within_budget(function, template) for name, function in filters.items()}
    return library


def _within_budget(function: Callable[..., Any], template: HasBudget) -> Callable[..., Any]:
    """The filter, with a check of the time and of its result's length."""

    @wraps(function)
    def bounded(value: Any, *arguments: Any, **options: Any) -> Any:
        template.budget.spend()
        result = function(value, *arguments, **options)
        _text_length(result)
        return result

    return bounded


def _join(value: Any, arg: Any, autoescape: bool = True) -> Any:
    if isinstance(value, list | str) and len(value) * len(str(arg)) + _text_length(value) > MAX_CHARACTERS:
        raise BadTemplate("The result of join is too long.")
    return all_filters.filters["join"](value, arg, autoescape=autoescape)


def _floatformat(text: Any, arg: Any = -1) -> Any:
    digits = "".join(character for character in str(arg) if character.isdigit())
    if len(digits) > 3 or int(digits or 0) > MAX_DECIMAL_PLACES:
        raise BadTemplate(f"floatformat shows at most {MAX_DECIMAL_PLACES} decimal places.")
    return all_filters.filters["floatformat"](text, arg)


_join.is_safe = _join.needs_autoescape = True  # type: ignore[attr-defined]
_floatformat.is_safe = True  # type: ignore[attr-defined]
BOUNDED_FILTERS: dict[str, Callable[..., Any]] = {"join": _join, "floatformat": _floatformat}
"""Replace Django's own, which would compute a huge result before its length can be checked."""


def _text_length(value: Any) -> int:
    """Roughly how long the value is as text. Raises BadTemplate as soon as that is too long."""
    size, todo = 0, [value]
    while todo:
        inner = todo.pop()
        if isinstance(inner, dict):
            todo += [*inner.keys(), *inner.values()]
        elif isinstance(inner, list | tuple):
            todo += inner
        size += len(inner) + 2 if isinstance(inner, str | list | tuple | dict) else 20
        if size > MAX_CHARACTERS:
            raise BadTemplate("It becomes too long.")
    return size
