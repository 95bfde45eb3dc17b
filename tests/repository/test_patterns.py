"""Every regular expression of the project, fed with the text that it is worst at, takes time in proportion to it.

The texts are made from each pattern: what leads to one of its repetitions, very much of what that repeats, and an end
that does not match. And from a list of words that are often the worst.
"""

import ast
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import islice, product
from pathlib import Path
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from demo.stack import ROOT
from mail.privacy.mentions import Mentions
from mail.sending.error_codes import ANSWERS
from mail.smtp.sentences import ABOUT_THE_SENDER, SENTENCES

LENGTHS = tuple(round(24 * 1.25**step) for step in range(24))
"""Characters, up to some 4,000. In small steps, so that even of an exponential pattern the first that is slow ends."""
SECONDS = 0.01
"""CPU time. Of 4,000 characters a linear pattern takes about 0.1 ms, and a quadratic one 15 ms or more."""
FOLDERS = ("rest", "jobs", "mail", "project", "monitor", "settings")
OUR_OWN_TEXT = "rest/read_only.py"
"""Its patterns read statements of the ORM, which hold no text of a client."""
DEVELOPMENT_ONLY = "mail/simulator/"
WORDS = [
    *(" ", "a", "0", "A", "-", ".", "@", "'", '"', "\\", "(", "<", "$", "/", "*", ";", "=", "\n", "[", ":", "é", "_"),
    *("a.", "a ", "a@", "@a", "\\\\", '\\"', '""', "''", "a=", "a;", "; a=b", "0.", "a-", "/*", "$$", "$a$", "--"),
    *("0 ", "2.0.", "250 ", "5.1.1 ", "a/b", "charset=", "v=spf1 ", "p=a;", "e'", "{{", "list-", "a<b", "host:1"),
]
CHARACTERS = [word for word in WORDS if len(word) == 1] + [*"\t+,!>{z9f"]
METHODS = ("match", "fullmatch", "search")
ANYWHERE = ("search", "sub", "subn", "findall", "finditer", "split")
"""They try every start."""
MANY = 50
"""A repetition that may be longer than this is fed."""
CHOICES = 24
"""Texts that are tried for one part of a pattern."""
REPETITIONS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)


@dataclass(frozen=True)
class Found:
    """A pattern in the source. anywhere: it is searched for, and not only matched at the start."""

    place: str
    pattern: re.Pattern[Any]
    anywhere: bool


# --- the walk ---------------------------------------------------------------------------------------------------


def sources() -> list[Path]:
    found = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]
    names = {path: str(path.relative_to(ROOT)) for path in [*found, ROOT / "routers.py", ROOT / "manage.py"]}
    return [path for path, name in names.items() if name != OUR_OWN_TEXT and not name.startswith(DEVELOPMENT_ONLY)]


def patterns() -> Iterator[Found]:
    texts = {path: path.read_text() for path in sources()}
    searched = set(re.findall(rf"\b(\w+)\.(?:{'|'.join(ANYWHERE)})\b", "\n".join(texts.values())))
    for path, text in texts.items():
        tree = ast.parse(text)
        names = {id(node.value): node.targets[0].id for node in ast.walk(tree) if _is_assignment(node)}
        for node in ast.walk(tree):
            if (call := _call_of_re(node)) and (source := _evaluated(node.args[0], path)) is not None:
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                is_searched = call in ANYWHERE or names.get(id(node), "") in searched
                yield Found(place, re.compile(source, _flags(node)), is_searched)
    for sentence in (*ABOUT_THE_SENDER, *SENTENCES):
        yield Found(f"mail/smtp/sentences.py {sentence.pattern}", re.compile(sentence.pattern, re.I), True)
    for answer in ANSWERS:
        yield Found(f"mail/sending/error_codes.py {answer.sentence}", re.compile(answer.sentence, re.I), True)


IN_TABLES = {"self.sentence", "sentence.pattern"}
"""Of ANSWERS and SENTENCES."""
LOCAL_NAMES: dict[str, dict[str, object]] = {
    "mail/privacy/mentions.py": {"self": Mentions("ada@example.org")},
    "mail/sending/error_codes.py": {"domain": "mg.example.org"},
}


def _evaluated(argument: ast.expr, path: Path) -> str | bytes | None:
    """The pattern; None if it is in one of the tables. NameError: this test does not know the names in it."""
    if isinstance(argument, ast.Constant):
        return argument.value
    if ast.unparse(argument) in IN_TABLES:
        return None
    name = str(path.relative_to(ROOT))
    module = import_module(name.removesuffix(".py").replace("/", "."))
    return eval(compile(ast.Expression(argument), name, "eval"), vars(module), LOCAL_NAMES.get(name, {}))  # noqa: S307


def _is_assignment(node: ast.AST) -> bool:
    return isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)


def _call_of_re(node: ast.AST) -> str:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
        module = node.func.value
        if isinstance(module, ast.Name) and module.id == "re":
            return node.func.attr if node.func.attr in (*METHODS, *ANYWHERE, "compile") else ""
    return ""


def _flags(node: ast.Call) -> int:
    names = {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute) and part.attr.isupper()}
    return sum(int(getattr(re, name)) for name in names if isinstance(getattr(re, name, None), re.RegexFlag))


# --- the worst texts --------------------------------------------------------------------------------------------


def worst_words(pattern: re.Pattern[Any]) -> set[tuple[str, str]]:
    """Pairs: the beginning of a text, and the word that is then repeated."""
    tree = parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)
    return {("", word) for word in WORDS} | set(_repetitions(tree, ""))


def _repetitions(nodes: Any, before: str) -> Iterator[tuple[str, str]]:
    """Each long repetition in these parts of a pattern: a text that leads to it, and one that it repeats."""
    for kind, value in nodes:
        if kind in REPETITIONS:
            _, most, body = value
            if most > MANY:
                yield from ((before, text) for text in _texts(body) if text)
                yield from (("", before + text) for text in _texts(body) if before + text)
            yield from _repetitions(body, before)
        elif kind is op.BRANCH:
            for branch in value[1]:
                yield from _repetitions(branch, before)
        elif kind in (op.SUBPATTERN, op.ATOMIC_GROUP, op.ASSERT):
            yield from _repetitions(value if kind is op.ATOMIC_GROUP else value[-1], before)
        before += _texts([(kind, value)])[0]


def _texts(nodes: Any) -> list[str]:
    """Some texts that these parts of a pattern match."""
    choices = [_choices(kind, value) for kind, value in nodes]
    first = [texts[0] for texts in choices]
    varied = ("".join([*first[:n], text, *first[n + 1 :]]) for n, texts in enumerate(choices) for text in texts)
    return list(islice(dict.fromkeys(["".join(first), *varied]), CHOICES))


def _choices(kind: Any, value: Any) -> list[str]:
    if kind is op.LITERAL:
        return [chr(value)]
    if kind in (op.ANY, op.NOT_LITERAL, op.IN):
        return [character for character in CHARACTERS if _is_in(kind, value, ord(character))] or ["?"]
    if kind is op.BRANCH:
        return [text for branch in value[1] for text in _texts(branch)]
    if kind in REPETITIONS:
        return [text * max(value[0], min(value[1], 1)) for text in _texts(value[2])]
    if kind in (op.SUBPATTERN, op.ATOMIC_GROUP):
        return _texts(value if kind is op.ATOMIC_GROUP else value[-1])
    return [""]


def _is_in(kind: Any, value: Any, code: int) -> bool:
    if kind is op.ANY:
        return code != ord("\n")
    if kind is op.NOT_LITERAL:
        return bool(code != value)
    negated, *members = value if value[0][0] is op.NEGATE else (None, *value)
    return any(_is_member(*member, code) for member in members) is (negated is None)


def _is_member(kind: Any, value: Any, code: int) -> bool:
    if kind is op.RANGE:
        return bool(value[0] <= code <= value[1])
    if kind is op.CATEGORY:
        name = str(value).removeprefix("CATEGORY_").removeprefix("UNI_")
        known = {"DIGIT": r"\d", "SPACE": r"\s", "WORD": r"\w", "NOT_DIGIT": r"\D", "NOT_SPACE": r"\S"}
        return bool(re.fullmatch(known.get(name, r"\W"), chr(code)))
    return bool(kind is op.LITERAL and code == value)


# --- the tests --------------------------------------------------------------------------------------------------

FOUND = list(patterns())


def test_the_walk_finds_the_patterns() -> None:
    places = "\n".join(found.place for found in FOUND)
    assert len(FOUND) > 100
    assert [folder for folder in FOLDERS if f"\n{folder}/" not in f"\n{places}"] == []


@pytest.mark.parametrize("found", FOUND, ids=[found.place for found in FOUND])
def test_a_pattern_takes_time_in_proportion_to_the_text(found: Found) -> None:
    assert slowest(found.pattern, METHODS if found.anywhere else METHODS[:2]) is None


@pytest.mark.parametrize(
    "pattern",
    [
        r"\s*x",
        r"(a+)+b",
        r"[^<]*\s*<",
        r"\d+\d+x",
        r"from (?:\w+)*!",
        r"x(?:ab|a|b)*y",
        r'^\s*File "([^"]+)"',
        rb"Basic +(?:[A-Za-z]*[a-z])*!",
    ],
)
def test_a_slow_pattern_is_noticed(pattern: str | bytes) -> None:
    assert slowest(re.compile(pattern, re.M), METHODS) is not None


def slowest(pattern: re.Pattern[Any], methods: tuple[str, ...]) -> tuple[str, str, str] | None:
    """The method, beginning and repeated word for which the pattern takes too long; None if there is none."""
    words = worst_words(pattern)
    for length, method, (before, word) in product(LENGTHS, methods, sorted(words)):
        text = before + (word * length)[:length] + "\0"
        if seconds(pattern, method, text) > SECONDS:
            return method, before, word
    return None


def seconds(pattern: re.Pattern[Any], method: str, text: str) -> float:
    """CPU time; the least of three, as the garbage collector may run."""
    took, subject = SECONDS * 100, text if isinstance(pattern.pattern, str) else text.encode()
    for _ in range(3):
        started = time.process_time()
        getattr(pattern, method)(subject)
        took = min(took, time.process_time() - started)
        if took < SECONDS:
            break
    return took
