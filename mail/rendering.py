"""Django's template language in a sandbox: a template reaches nothing but its context, and ends soon.

There is no loader, library, attribute or call; what could grow without end is left out, or counted by a Meter.
"""

import time
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ClassVar

from django.template import Context, Engine, Library, Template, TemplateSyntaxError
from django.template.base import (
    FilterExpression,
    Lexer,
    Node,
    NodeList,
    Parser,
    Token,
    TokenType,
    Variable,
    VariableDoesNotExist,
)
from django.template.defaultfilters import register as all_filters
from django.template.defaulttags import ForNode
from django.template.defaulttags import register as all_tags

from rest.json_value import plain_text

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

DELIMITERS = (("{%", "%}"), ("{{", "}}"), ("{#", "#}"))
SIZE = 1024 * 1024
"""Characters that a source, a result and whatever lies between may have."""
TAG_CHARACTERS = 100_000
"""That a source may have inside its tags and variables: compiling them takes time."""
UNCLOSED = 100
"""Tags that a line may open and not close: the lexer looks to the end of the line for each."""
DIGITS = 100
"""Places that floatformat may be asked for."""
LONGEST_NAME = 100
"""Characters of a variable's name that an error repeats."""
SECONDS = 0.5
"""Of computing, for all that one Meter is used for."""


UNSUBSCRIBE_URL = "unsubscribe_url"
"""A variable of bulk mail. Other mail that shows it would have a link to nowhere, and is refused."""


class BadTemplate(ValueError):
    """Says why a template is broken, or cannot be rendered with this context."""


class MissingVariable(BadTemplate):
    """The template shows a variable that the context lacks, and has no default for it."""

    def __init__(self, name: str) -> None:
        where = "only bulk mail has it" if name == UNSUBSCRIBE_URL else "the context does not have it"
        super().__init__(f"The template needs {name}, and {where}.")
        self.name = name


class Meter:
    """Counts what rendering costs: seconds in all, characters for each result. Raises BadTemplate at too much."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.left = seconds
        self.characters = 0
        self.stop_at = 0.0

    def start(self) -> None:
        self.characters = 0
        self.stop_at = time.thread_time() + self.left

    def stop(self) -> None:
        self.left = self.stop_at - time.thread_time()

    def step(self, characters: int = 0) -> None:
        self.characters += characters
        if self.characters > 10 * SIZE or time.thread_time() > self.stop_at:
            raise BadTemplate("It takes too long to render.")


class Sandboxed(Template):
    """A compiled template. Raises BadTemplate where Django's raises whatever it meets."""

    meter: Meter
    strict = False

    def __init__(self, source: str, *, autoescape: bool = False) -> None:
        _refuse_what_the_lexer_takes_long_for(source)
        self.meter = Meter()
        self.meter.start()  # {% verbatim %} is rendered while it is compiled
        try:
            super().__init__(source, engine=_HTML if autoescape else _TEXT)
        except BadTemplate:
            raise
        except Exception as error:  # the parser meets its end in many ways, and each is the source's doing
            raise BadTemplate(_sentence(error)) from None

    def compile_nodelist(self) -> NodeList:
        return _Parser(self).parse()

    def rendered(self, context: Mapping[str, Any], meter: Meter | None = None, *, strict: bool = False) -> str:
        """The text. context: JSON values. meter: of several renderings that may not take longer together.

        strict: raises MissingVariable where Django would show nothing. Tests (if, firstof) and default are no failure.
        """
        self.meter, self.strict = meter or Meter(), strict
        self.meter.start()
        try:
            text = str(self.render(Context(dict(context), autoescape=self.engine.autoescape)))
        except BadTemplate:
            raise
        except Exception as error:  # a division by zero in a filter, a recursion without end, …
            raise BadTemplate(_sentence(error)) from None
        finally:
            self.meter.stop()
        return _storable(text)


def rendered(source: str, context: Mapping[str, Any], meter: Meter | None = None, *, autoescape: bool = False) -> str:
    """The source, rendered once. Raises BadTemplate."""
    if not any(opened in source for opened, _ in DELIMITERS):
        return _storable(source)
    return Sandboxed(source, autoescape=autoescape).rendered(context, meter)


class _Engine(Engine):
    default_builtins: ClassVar = []


_TEXT = _Engine(loaders=[], autoescape=False)
_HTML = _Engine(loaders=[], autoescape=True)


class _Parser(Parser):
    def __init__(self, template: Sandboxed) -> None:
        self.template = template
        super().__init__(_tokens(template.source), {}, [_library(template)], template.origin)

    def compile_filter(self, token: str) -> FilterExpression:
        expression = _Expression(token, self, self.template)
        expression.var = _plain(expression.var)
        expression.filters = [
            (function, [(is_variable, _plain(value)) for is_variable, value in arguments])
            for function, arguments in expression.filters
        ]
        return expression

    def extend_nodelist(self, nodelist: NodeList, node: Node, token: Token) -> None:
        """Every node counts when it is rendered."""
        render, template = node.render_annotated, self.template
        if isinstance(node, ForNode) and not node.nodelist_empty:
            node.sequence = _Needed(node.sequence)  # type: ignore[arg-type,assignment]

        def counted(context: Context) -> Any:
            template.meter.step()
            result = render(context)
            template.meter.step(len(str(result)))
            return result

        node.render_annotated = counted  # type: ignore[method-assign]
        super().extend_nodelist(nodelist, node, token)


class _Expression(FilterExpression):
    """A variable with its filters; a strict template needs each that is shown."""

    def __init__(self, token: str, parser: Parser, template: Sandboxed) -> None:
        super().__init__(token, parser)
        self.template = template

    def resolve(self, context: Context, ignore_failures: bool = False) -> Any:
        if not ignore_failures:
            self.require(context)
        return super().resolve(context, ignore_failures)

    def require(self, context: Context) -> None:
        """Raises MissingVariable where the template is strict."""
        if not isinstance(self.var, Variable) or self._has_default:
            return
        if not self.template.strict and self.var.var != UNSUBSCRIBE_URL:
            return
        try:
            self.var.resolve(context)
        except VariableDoesNotExist:
            raise MissingVariable(str(self.var.var)[:LONGEST_NAME]) from None

    @property
    def _has_default(self) -> bool:
        return any(getattr(function, "_filter_name", "") == "default" for function, _ in self.filters)


class _Needed:
    """The list of a {% for %} without {% empty %}: a strict template needs it, too."""

    def __init__(self, expression: _Expression) -> None:
        self.expression = expression

    def resolve(self, context: Context, ignore_failures: bool = False) -> Any:
        self.expression.require(context)
        return self.expression.resolve(context, ignore_failures)


class _PlainVariable(Variable):
    """Looks into objects and lists of JSON, and nowhere else; d.items is the one call, made here."""

    def _resolve_lookup(self, context: Any) -> Any:
        value = context
        for bit in self.lookups or ():
            value = self._part(value, bit)
        return value

    def _part(self, value: Any, bit: str) -> Any:
        try:
            if isinstance(value, dict | Context):
                return value[bit]
            if isinstance(value, list | tuple | str):
                return value[int(bit)]
        except (KeyError, IndexError, ValueError):
            if isinstance(value, dict) and bit == "items":
                return list(value.items())
        raise VariableDoesNotExist("%s is not in the context", (bit,))


def _plain(value: Any) -> Any:
    return _PlainVariable(value.var) if isinstance(value, Variable) else value


def _library(template: Sandboxed) -> Library:
    library = Library()
    library.tags = {name: all_tags.tags[name] for name in TAGS}
    library.filters = {name: _counted(all_filters.filters[name], template) for name in FILTERS}
    library.filters |= {name: _counted(own, template) for name, own in OWN_FILTERS.items()}
    return library


def _counted(function: Callable[..., Any], template: Sandboxed) -> Callable[..., Any]:
    """The filter, with a bound to its result and a look at the time."""

    @wraps(function)
    def counted(value: Any, *arguments: Any, **options: Any) -> Any:
        template.meter.step()
        result = function(value, *arguments, **options)
        _measured(result)
        return result

    return counted


def _join(value: Any, arg: Any, autoescape: bool = True) -> Any:
    if isinstance(value, list | str) and len(value) * len(str(arg)) + _measured(value) > SIZE:
        raise BadTemplate("The result of join is too long.")
    return all_filters.filters["join"](value, arg, autoescape=autoescape)


def _floatformat(text: Any, arg: Any = -1) -> Any:
    digits = "".join(character for character in str(arg) if character.isdigit())
    if len(digits) > 3 or int(digits or 0) > DIGITS:
        raise BadTemplate(f"floatformat shows {DIGITS} places at most.")
    return all_filters.filters["floatformat"](text, arg)


_join.is_safe = _join.needs_autoescape = True  # type: ignore[attr-defined]
_floatformat.is_safe = True  # type: ignore[attr-defined]
OWN_FILTERS: dict[str, Callable[..., Any]] = {"join": _join, "floatformat": _floatformat}


def _measured(value: Any) -> int:
    """How long it would be as text, roughly; raises BadTemplate as soon as that is too long."""
    size, todo = 0, [value]
    while todo:
        inner = todo.pop()
        if isinstance(inner, dict):
            todo += [*inner.keys(), *inner.values()]
        elif isinstance(inner, list | tuple):
            todo += inner
        size += len(inner) + 2 if isinstance(inner, str | list | tuple | dict) else 20
        if size > SIZE:
            raise BadTemplate("It becomes too long.")
    return size


def _refuse_what_the_lexer_takes_long_for(source: str) -> None:
    if len(source) > SIZE:
        raise BadTemplate(f"It has more than {SIZE} characters.")
    for line in source.split("\n"):
        for opened, closed in DELIMITERS:
            if line.count(opened, line.rfind(closed) + 1) > UNCLOSED:
                raise BadTemplate(f"A line opens {opened} and never closes it.")


def _tokens(source: str) -> list[Token]:
    tokens = Lexer(source).tokenize()
    if sum(len(token.contents) for token in tokens if token.token_type != TokenType.TEXT) > TAG_CHARACTERS:
        raise BadTemplate(f"It has more than {TAG_CHARACTERS} characters inside its tags.")
    return tokens


def _storable(text: str) -> str:
    if len(text) > SIZE:
        raise BadTemplate(f"The result has more than {SIZE} characters.")
    if text != plain_text(text):
        raise BadTemplate("The result has characters that cannot be stored.")
    return text


def _sentence(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "It is nested too deeply."
    return f"{error}" if isinstance(error, TemplateSyntaxError) else f"{type(error).__name__}: {error}"
