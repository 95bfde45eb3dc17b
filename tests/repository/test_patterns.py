"""Every regular expression of the project, fed with the text that it is worst at, takes time in proportion to it."""

import ast
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from demo.stack import ROOT

LENGTH = 4_000
"""Characters."""
SECONDS = 0.01
"""CPU time. A linear pattern takes about 0.1 ms, a quadratic one 20 ms or more, and an exponential one for ever."""
OUR_OWN_TEXT = ("rest/read_only.py",)
"""Their patterns read statements of the ORM, which hold no text of a client."""
ALPHABET = [
    *(" ", "a", "0", "A", "-", ".", "@", "'", '"', "\\", "(", "<", "$", "/", "*", ";", "=", "\n", "[", ":", "é", "_"),
    *(
        "a.",
        "a ",
        "a@",
        "@a",
        "\\\\",
        '\\"',
        '""',
        "''",
        "a=",
        "a;",
        "; a=b",
        "0.",
        "a-",
        "/*",
        "$$",
        "$a$",
        "--",
        "0 ",
    ),
    *("2.0.", "250 ", "5.1.1 ", "a/b", "charset=", "v=spf1 ", "p=a;", "e'", "{{", "list-", "a<b", "host:1"),
]
METHODS = ("match", "fullmatch", "search")
ANYWHERE = ("search", "sub", "findall", "finditer", "split")
"""They try every start."""


@dataclass(frozen=True)
class Found:
    """A pattern in the source. anywhere: it is searched for, and not only matched at the start."""

    place: str
    pattern: re.Pattern[Any]
    anywhere: bool


def sources() -> list[Path]:
    folders = ("rest", "jobs", "mail", "project", "settings")
    found = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    outside = [path for path in found if not {"migrations", "simulator"} & set(path.parts)]
    return sorted(path for path in outside if not str(path).endswith(OUR_OWN_TEXT))


def patterns() -> Iterator[Found]:
    texts = {path: path.read_text() for path in sources()}
    everything = "\n".join(texts.values())
    for path, text in texts.items():
        tree = ast.parse(text)
        names = {id(node.value): node.targets[0].id for node in ast.walk(tree) if _is_assignment(node)}
        for node in ast.walk(tree):
            if (call := _call_of_re(node)) and isinstance(node.args[0], ast.Constant):
                name = names.get(id(node), "")
                anywhere = call in ANYWHERE or (
                    name and any(re.search(rf"\b{name}\.{each}\b", everything) for each in ANYWHERE)
                )
                yield Found(
                    f"{path.relative_to(ROOT)}:{node.lineno}", re.compile(node.args[0].value, _flags(node)), anywhere
                )


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


FOUND = list(patterns())


def test_the_walk_finds_the_patterns() -> None:
    assert len(FOUND) > 30
    assert any(found.place.startswith("mail/addresses/parsing.py") for found in FOUND)


@pytest.mark.parametrize("found", FOUND, ids=[found.place for found in FOUND])
def test_a_pattern_takes_time_in_proportion_to_the_text(found: Found) -> None:
    methods = METHODS if found.anywhere else METHODS[:2]
    for word, end, method in product(ALPHABET, ("\0",), methods):
        took = seconds(found.pattern, method, (word * LENGTH)[:LENGTH] + end)
        assert took < SECONDS, (method, word, end)


def seconds(pattern: re.Pattern[Any], method: str, text: str) -> float:
    """CPU time; the least of three, as the garbage collector may run."""
    took, subject = 0.0, text if isinstance(pattern.pattern, str) else text.encode()
    for _ in range(3):
        started = time.process_time()
        getattr(pattern, method)(subject)
        took = min(took or SECONDS * 100, time.process_time() - started)
        if took < SECONDS:
            break
    return took


@pytest.mark.parametrize("pattern", [r"\s*x", r"(a+)+b", r"[^<]*\s*<"])
def test_a_slow_pattern_is_noticed(pattern: str) -> None:
    slow = re.compile(pattern)
    assert seconds(slow, "search", (" " if "s" in pattern else "a") * (LENGTH if "(" not in pattern else 22)) > SECONDS
