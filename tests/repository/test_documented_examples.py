"""The examples of these PAGES, run one after the other as a reader would, against a running stack.

In a ```console block, commands stand after "$ ", their further lines after "> ", and below what they print. A ```python
block is a program, and a ```text block after it is what it prints. "…" stands for anything; white space is ignored.
"""

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

import pytest

from demo.run import USER
from demo.stack import ROOT
from tests.support.stack import Stack

pytestmark = [pytest.mark.stack, pytest.mark.xdist_group("documented_examples")]

PAGES = ["README.md", "docs/api.md", "docs/remote-workers.md", "clients/python/README.md"]
CLIENT = ROOT / "clients" / "python"
MADE_BY_MAKE_RUN = "http://127.0.0.1:8000"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$(?:\s*^```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
END = "\x1e"
"""Between the output of a command, its exit status and the next command."""
WITHIN = 300


class Step(NamedTuple):
    """command: for bash. printed: what the page shows of its output."""

    command: str
    printed: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("examples")


@pytest.fixture(scope="module")
def stack(folder: Path) -> Iterator[Stack]:
    """What `make run` starts, with its login in var/login."""
    var, password = folder / "var", secrets.token_urlsafe(12)
    var.mkdir()
    (var / "login").write_text(password)
    with Stack(f"sqlite:///{var}/legwork.sqlite3", var, mail=True) as stack:
        stack.add_user(USER, password, staff=True)
        yield stack


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_do_what_the_page_shows(page: str, stack: Stack, folder: Path) -> None:
    text = (ROOT / page).read_text().replace(MADE_BY_MAKE_RUN, stack.url)
    steps = [step for block in BLOCK.finditer(text) for step in steps_of(*block.groups(default=""))]
    assert len(steps) > 5
    for step, printed in zip(steps, outputs(steps, folder), strict=True):
        assert matches(step.printed, printed), f"{step.command}\n--- prints\n{printed}\n--- and not\n{step.printed}"


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ('{"a":1,\n "b":2}', '{"a":1,"b":2}', True),
        ('{"a":…}', '{"a":1,"b":2}', True),
        ('{"a":…}', '{"b":2}', False),
        ("", "something", False),
        ("a.c", "abc", False),
    ],
)
def test_what_is_printed_is_compared_with_what_is_shown(shown: str, printed: str, same: bool) -> None:
    assert matches(shown, printed) is same


def steps_of(language: str, block: str, printed: str) -> Iterator[Step]:
    if language == "python":
        yield Step(f"'{sys.executable}' - <<'PROGRAM'\n{block}PROGRAM", printed)
        return
    for entry in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        lines = entry.splitlines(keepends=True)
        shown = list(dropwhile(lambda line: line.startswith("> "), lines[1:]))
        command = lines[: len(lines) - len(shown)]
        yield Step("".join(line.removeprefix("> ") for line in command).rstrip("\n"), "".join(shown))


def outputs(steps: list[Step], folder: Path) -> Iterator[str]:
    """What each command prints, in one shell whose variables all programs see. A failure ends it."""
    script = "".join(f"{step.command}\nprintf '{END}%s{END}' $?\n" for step in steps)
    ran = subprocess.run(
        ["bash", "-a"],
        input=script,
        cwd=folder,
        env=with_client(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=WITHIN,
    )
    parts = ran.stdout.split(END)
    for step, printed, status in zip(steps, parts[::2], parts[1::2], strict=False):
        assert status == "0", f"{step.command}\nends with {status}:\n{printed}"
        yield printed


def with_client(folder: Path) -> dict[str, str]:
    """Variables with which the client library is there as if it was installed."""
    command = folder / "bin" / "legwork"
    command.parent.mkdir(exist_ok=True)
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m legwork_client "$@"\n')
    command.chmod(0o700)
    return {**os.environ, "PATH": f"{command.parent}:{os.environ['PATH']}", "PYTHONPATH": str(CLIENT)}


def matches(shown: str, printed: str) -> bool:
    words = [".*?".join(map(re.escape, word.split("…"))) for word in shown.split()]
    return re.fullmatch(r"\s*".join(["", *words, ""]), printed, re.DOTALL) is not None
