"""Rules of this repository that a program can check: names and sizes of files, and locked requirements."""

import os
import re
from pathlib import Path

import pytest

from demo.stack import ROOT

NOT_OURS = {".git", ".hypothesis", ".venv", "var", "node_modules", "htmlcov", "__pycache__"}
CODE = {".py", ".js", ".css", ".html", ".sh", ".toml", ".yml", ".yaml", ""}
SAYS_NOTHING = re.compile(r"^(utils?|helpers?|common|misc|shared|services?|managers?|base_?classes)$")
LONGEST = 400
HAS_TESTS = re.compile(r"^(async )?def test_|^    (async )?def test_\w+\(self", re.MULTILINE)
WITHOUT_MODULES = {"clients", "repository", "system"}
"""Folders of tests of several modules: the library's two clients, the files of the repository, running programs."""
LOCKS = ["requirements.txt", "requirements-dev.txt"]
PACKAGE_INDEX = re.compile(r"https?://[\w.-]*(?:pypi|pythonhosted|npm|registry|mirror|debian)[\w.-]*", re.IGNORECASE)


def our_files() -> list[Path]:
    """All files of the repository. Other folders are not entered: files come and go there while tests run."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in NOT_OURS and not name.endswith("_cache")]
        found += [path for name in names if (path := Path(folder) / name).is_file() and name not in NOT_OURS]
    return sorted(found)


def test_every_file_is_named_after_what_it_holds() -> None:
    # settings/base.py is allowed: it is what all settings have in common.
    names = {path: [*path.relative_to(ROOT).parts[:-1], path.stem] for path in our_files() if path.suffix == ".py"}
    assert [str(path) for path, parts in names.items() if any(map(SAYS_NOTHING.match, parts))] == []


def test_no_file_is_longer_than_a_reader_likes() -> None:
    code = [path for path in our_files() if path.suffix in CODE and "migrations" not in path.parts]
    assert [str(path) for path in code if len(path.read_text().splitlines()) > LONGEST] == []


def test_the_path_of_a_test_mirrors_the_path_of_its_module() -> None:
    """tests/jobs/worker/test_rescue_take_over.py tests jobs/worker/rescue.py; tests/soak/test_invariants.py the file
    beside it.
    """
    sources = {path.relative_to(ROOT / "tests"): path.read_text() for path in (ROOT / "tests").rglob("*.py")}
    tests = [path for path, text in sources.items() if HAS_TESTS.search(text)]
    assert len(tests) > 200
    assert [str(test) for test in tests if not stands_right(test)] == []


@pytest.mark.parametrize(
    ("path", "right"),
    [
        *[
            ("jobs/test_retry.py", True),
            ("jobs/worker/test_rescue_take_over.py", True),
            ("jobs/test_brokers.py", True),
        ],
        *[("test_routers.py", True), ("soak/test_invariants.py", True), ("system/jobs/test_kills.py", True)],
        *[("jobs/test_claiming.py", False), ("test_retry.py", False), ("elsewhere/test_retry.py", False)],
        *[("jobs/retry.py", False), ("jobs/retry_test.py", False), ("system/kills.py", False)],
    ],
)
def test_a_stray_test_is_noticed(path: str, right: bool) -> None:
    assert stands_right(Path(path)) is right


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_is_pinned_and_hashed(name: str) -> None:
    requirements = [line for line in unfolded(name) if not line.startswith("#")]
    assert len(requirements) > 20
    assert [line for line in requirements if not re.match(r"\S+==\S+( ;.*?)? --hash=sha256:[0-9a-f]{64}", line)] == []


@pytest.mark.parametrize("name", LOCKS)
def test_no_lock_says_where_packages_come_from(name: str) -> None:
    options = re.compile(r"^\s*(--(index-url|extra-index-url|find-links|trusted-host)|-[if]\b)|://", re.MULTILINE)
    assert options.findall((ROOT / name).read_text()) == []


def test_no_file_names_the_host_of_a_package_index() -> None:
    texts = {path: path.read_text(errors="replace") for path in our_files()}
    assert [str(path) for path, text in texts.items() if PACKAGE_INDEX.search(text)] == []


def stands_right(test: Path) -> bool:
    """True if the module or package exists that the test's path names, possibly followed by an aspect of it."""
    if not re.fullmatch(r"test_\w+\.py", test.name):
        return False  # pytest would not run it
    if test.parts[0] in WITHOUT_MODULES:
        return True
    words = test.stem.split("_")[1:]
    stems = ["_".join(words[:count]) for count in range(len(words), 0, -1)]
    return any(
        (folder / test.parent / name).exists()
        for folder in (ROOT, ROOT / "tests")
        for stem in stems
        for name in (f"{stem}.py", stem)
    )


def unfolded(name: str) -> list[str]:
    """The lines of a requirements file without empty ones, with continued lines joined."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if line.strip() and line[0] != " "]
