"""Django's template language in a sandbox: a template reaches nothing but its context, and rendering is bounded.

No loader, no library, no attribute, no call. What could grow without bound is left out (filters.py) or spends a budget.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.template import Context, Engine, Template, TemplateSyntaxError
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
from django.template.defaulttags import ForNode

from mail.rendering.budget import MAX_CHARACTERS, UNSUBSCRIBE_URL, BadTemplate, MissingVariable, RenderBudget
from mail.rendering.filters import sandbox_library
from rest.json_value import clean_text

DELIMITERS = (("{%", "%}"), ("{{", "}}"), ("{#", "#}"))
MAX_TAG_CHARACTERS = 100_000
"""Inside the tags and variables of a source: compiling them takes time."""
MAX_LENGTH_OF_TAG = 10_000
"""Characters: while one tag is compiled the budget is not checked."""
MAX_TAGS = 20_000
"""Tags, variables and comments of a source."""
MAX_UNCLOSED = 100
"""Tags that a line may open and not close: for each the lexer scans to the end of the line."""
MAX_SHOWN_NAME = 100
"""Characters of a variable's name that an error repeats."""


def render_text(
    source: str, context: Mapping[str, Any], budget: RenderBudget | None = None, *, autoescape: bool = False
) -> str:
    """The source, compiled and rendered once. Raises BadTemplate."""
    if not any(opened in source for opened, _ in DELIMITERS):
        return _checked_result(source)
    budget = budget or RenderBudget()
    return SandboxedTemplate(source, budget, autoescape=autoescape).render_text(context, budget)


class SandboxedTemplate(Template):
    """A compiled template. Raises BadTemplate for every error.

    budget: shared by several templates, or a new one; compiling spends it as rendering does.
    """

    budget: RenderBudget
    strict = False

    def __init__(self, source: str, budget: RenderBudget | None = None, *, autoescape: bool = False) -> None:
        self.budget = budget or RenderBudget()
        self.budget.start()
        try:
            _refuse_slow_source(source)
            super().__init__(source, engine=_HTML if autoescape else _TEXT)
        except BadTemplate:
            raise
        except Exception as error:  # the parser fails with many types of error, all caused by the source
            raise BadTemplate(_sentence(error)) from None
        finally:
            self.budget.stop()

    def compile_nodelist(self) -> NodeList:
        return _Parser(self).parse()

    def render_text(
        self, context: Mapping[str, Any], budget: RenderBudget | None = None, *, strict: bool = False
    ) -> str:
        """The text. context: JSON values. budget: shared by several renderings, or a new one.

        strict: raises MissingVariable where Django would show nothing. Tests ({% if %}, {% firstof %}) and variables
        with a default are exempt.
        """
        self.budget, self.strict = budget or RenderBudget(), strict
        self.budget.start()
        try:
            text = str(self.render(Context(dict(context), autoescape=self.engine.autoescape)))
        except BadTemplate:
            raise
        except Exception as error:  # such as a division by zero in a filter, or a RecursionError
            raise BadTemplate(_sentence(error)) from None
        finally:
            self.budget.stop()
        return _checked_result(text)


class _Engine(Engine):
    default_builtins: ClassVar = []


_TEXT = _Engine(loaders=[], autoescape=False)
_HTML = _Engine(loaders=[], autoescape=True)


class _Parser(Parser):
    def __init__(self, template: SandboxedTemplate) -> None:
        self.template = template
        tokens = Lexer(template.source).tokenize()
        lengths = [len(token.contents) for token in tokens if token.token_type != TokenType.TEXT]
        if sum(lengths) > MAX_TAG_CHARACTERS:
            raise BadTemplate(f"It has more than {MAX_TAG_CHARACTERS} characters inside its tags.")
        if max(lengths, default=0) > MAX_LENGTH_OF_TAG:
            raise BadTemplate(f"One of its tags has more than {MAX_LENGTH_OF_TAG} characters.")
        super().__init__(tokens, {}, [sandbox_library(template)], template.origin)

    def compile_filter(self, token: str) -> FilterExpression:
        self.template.budget.spend()
        expression = _Expression(token, self, self.template)
        expression.var = _json_only(expression.var)
        expression.filters = [
            (function, [(is_variable, _json_only(value)) for is_variable, value in arguments])
            for function, arguments in expression.filters
        ]
        return expression

    def extend_nodelist(self, nodelist: NodeList, node: Node, token: Token) -> None:
        """Make each node spend the budget when it is rendered."""
        render, template = node.render_annotated, self.template
        template.budget.spend()
        if isinstance(node, ForNode) and not node.nodelist_empty:
            node.sequence = _RequiredSequence(node.sequence)  # type: ignore[arg-type,assignment]

        def bounded(context: Context) -> Any:
            template.budget.spend()
            result = render(context)
            template.budget.spend(len(str(result)))
            return result

        node.render_annotated = bounded  # type: ignore[method-assign]
        super().extend_nodelist(nodelist, node, token)


class _Expression(FilterExpression):
    """A variable with its filters. A strict template requires each variable that it shows."""

    def __init__(self, token: str, parser: Parser, template: SandboxedTemplate) -> None:
        super().__init__(token, parser)
        self.template = template

    def resolve(self, context: Context, ignore_failures: bool = False) -> Any:
        if not ignore_failures:
            self.require(context)
        return super().resolve(context, ignore_failures)

    def require(self, context: Context) -> None:
        """Raises MissingVariable if the template is strict, or if the variable is UNSUBSCRIBE_URL."""
        if not isinstance(self.var, Variable) or not (self.template.strict or self.var.var == UNSUBSCRIBE_URL):
            return
        if any(getattr(function, "_filter_name", "") == "default" for function, _ in self.filters):
            return
        try:
            self.var.resolve(context)
        except VariableDoesNotExist:
            raise MissingVariable(str(self.var.var)[:MAX_SHOWN_NAME]) from None


class _RequiredSequence:
    """The list of a {% for %} without {% empty %}, which a strict template requires too."""

    def __init__(self, expression: _Expression) -> None:
        self.expression = expression

    def resolve(self, context: Context, ignore_failures: bool = False) -> Any:
        self.expression.require(context)
        return self.expression.resolve(context, ignore_failures)


class _JSONVariable(Variable):
    """Looks up keys and indexes in JSON values, never attributes. `d.items` is the only call, made here."""

    def _resolve_lookup(self, context: Any) -> Any:
        value = context
        for bit in self.lookups or ():
            value = self._look_up(value, bit)
        return value

    def _look_up(self, value: Any, bit: str) -> Any:
        try:
            if isinstance(value, dict | Context):
                return value[bit]
            if isinstance(value, list | tuple | str):
                return value[int(bit)]
        except (KeyError, IndexError, ValueError):
            if isinstance(value, dict) and bit == "items":
                return list(value.items())
        raise VariableDoesNotExist("%s is not in the context", (bit,))


def _json_only(value: Any) -> Any:
    return _JSONVariable(value.var) if isinstance(value, Variable) else value


def _refuse_slow_source(source: str) -> None:
    """Raises BadTemplate for a source that would keep the lexer busy for long."""
    if len(source) > MAX_CHARACTERS:
        raise BadTemplate(f"It has more than {MAX_CHARACTERS} characters.")
    if sum(source.count(opened) for opened, _ in DELIMITERS) > MAX_TAGS:
        raise BadTemplate(f"It has more than {MAX_TAGS} tags and variables.")
    for line in source.split("\n"):
        if "{" not in line:
            continue
        for opened, closed in DELIMITERS:
            if line.count(opened, line.rfind(closed) + 1) > MAX_UNCLOSED:
                raise BadTemplate(f"A line opens {opened} and never closes it.")


def _checked_result(text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        raise BadTemplate(f"The result has more than {MAX_CHARACTERS} characters.")
    if text != clean_text(text):
        raise BadTemplate("The result has characters that cannot be stored.")
    return text


def _sentence(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "It is nested too deeply."
    return f"{error}" if isinstance(error, TemplateSyntaxError) else f"{type(error).__name__}: {error}"
