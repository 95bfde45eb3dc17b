"""What the documentation points at exists: links, anchors, files, modules, commands, settings, log events."""

import re
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.management import get_commands
from django.urls import resolve

from demo.stack import ROOT

MADE_AT_RUN_TIME = {"var", "htmlcov", "node_modules"}
OPERATIONS, DECISIONS = ROOT / "docs" / "operations", ROOT / "docs" / "decisions"

LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE_BLOCK = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)
FILE = re.compile(r"(?<![\w./:<-])((?:[\w.-]+/)*[\w.-]+\.(?:py|md|sql|cfg|toml|txt))(?![\w/-])")
PAGE = re.compile(r"(?<![\w./<-])((?:[\w-]+/)*[\w-]+\.md)(?!\w)")
FOLDER = re.compile(r"`((?:[\w.-]+/)+)`")
PROGRAM = re.compile(r"python -m ([\w.]+)")
COMMAND = re.compile(r"manage\.py ([a-z_]+)")
TARGET = re.compile(r"`make ([a-z-]+)")
VARIABLE = re.compile(r"`([A-Z][A-Z_]+)`")
READ = re.compile(r"""env\.\w+\(\s*"([A-Z_]+)\"""")
PARTS_OF_A_DECISION = ["Context", "Decision", "Consequences"]
NOT_OURS = {"pip", "pytest", "uvicorn", "coverage"}
"""Programs of installed packages."""
EXAMPLES = {"kinds.py"}
"""Files that any app may have."""


def folders() -> Iterator[Path]:
    for path in ROOT.iterdir():
        if path.is_dir() and path.name not in MADE_AT_RUN_TIME and not path.name.startswith("."):
            yield path


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *(page for folder in folders() for page in folder.rglob("*.md"))])


def programs() -> list[Path]:
    """All Python files but this one, which names pages that do not exist."""
    ours = [*ROOT.glob("*.py"), *(path for folder in folders() for path in folder.rglob("*.py"))]
    return [path for path in ours if path != Path(__file__)]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


each_page = pytest.mark.parametrize("page", pages(), ids=name_of)


@each_page
def test_every_link_leads_to_something_in_the_repository(page: Path) -> None:
    assert [target for target in LINK.findall(prose(page)) if not leads_somewhere(page, target)] == []


@each_page
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = FILE.findall(LINK.sub("", page.read_text()))
    assert [name for name in named if not exists(page, name)] == []


@each_page
def test_every_folder_of_ours_that_is_named_exists(page: Path) -> None:
    ours = {folder.name for folder in folders()}
    named = [name for name in FOLDER.findall(prose(page)) if name.partition("/")[0] in ours]
    assert [name for name in named if not (ROOT / name).is_dir() and not is_in_api(name)] == []


@each_page
def test_every_program_and_command_that_is_named_exists(page: Path) -> None:
    text = page.read_text()
    programs = [name for name in PROGRAM.findall(text) if name.partition(".")[0] not in NOT_OURS]
    assert [name for name in programs if find_spec(name) is None] == []
    assert set(COMMAND.findall(text)) <= {*get_commands(), *commands_of_ours()}
    assert set(TARGET.findall(text)) <= targets()


@each_page
def test_no_page_is_about_the_machine_that_it_was_written_on(page: Path) -> None:
    assert re.findall(r"(?<![\w.])/(?:home|root|work|tmp)/|\.\./shared", page.read_text()) == []


def test_every_page_that_the_code_names_exists() -> None:
    named = {(path, name) for path in programs() for name in PAGE.findall(path.read_text())}
    assert [(name_of(path), name) for path, name in sorted(named) if not exists(path, name)] == []


def test_every_setting_is_documented() -> None:
    sources = [path.read_text() for path in (ROOT / "settings").glob("*.py")]
    read = {name for source in sources for name in READ.findall(source)}
    documented = {name for row in rows(OPERATIONS / "settings.md") for name in VARIABLE.findall(row[0])}
    assert read - documented == set()
    assert {
        name for name in documented if not any(f'"{name}"' in source or f"{name}=" in source for source in sources)
    } == set()


def test_every_event_of_the_log_that_is_explained_is_logged() -> None:
    explained = [row[0] for row in rows(OPERATIONS / "troubleshooting.md") if re.fullmatch("`[a-z_]+`", row[0])]
    assert len(explained) > 10
    assert [event for event in explained if not is_logged(event.strip("`"))] == []


def test_every_decision_is_in_the_index_and_has_its_parts() -> None:
    records = sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    assert len({name[:4] for name in records}) == len(records)
    assert sorted(LINK.findall((DECISIONS / "README.md").read_text())) == records
    for name in records:
        parts = re.findall(r"^## (.+)$", (DECISIONS / name).read_text(), re.MULTILINE)
        assert parts in (PARTS_OF_A_DECISION, [*PARTS_OF_A_DECISION, "Measured"]), name


@pytest.mark.parametrize(
    ("heading", "anchor"), [("## Sending rates", "sending-rates"), ("### What `@job` takes", "what-job-takes")]
)
def test_a_heading_has_the_anchor_that_github_gives_it(tmp_path: Path, heading: str, anchor: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n{heading}\n\n```sh\n# no heading\n```\n")
    assert anchors(page) == {"page", anchor}


@pytest.mark.parametrize("target", ["missing.md", "README.md#missing", "../outside.md", "#missing"])
def test_a_link_that_leads_nowhere_is_found(target: str) -> None:
    assert not leads_somewhere(ROOT / "README.md", target)


@pytest.mark.parametrize("name", ["jobs/missing.py", "missing.py", "test_missing.py"])
def test_a_file_that_does_not_exist_is_found(name: str) -> None:
    assert FILE.findall(f"see `{name}`.") == [name]
    assert not exists(ROOT / "README.md", name)


def prose(page: Path) -> str:
    return CODE_BLOCK.sub("", page.read_text())


def leads_somewhere(page: Path, target: str) -> bool:
    if re.match(r"[a-z]+:", target):
        return True  # another site, which no test asks
    path, _, anchor = target.partition("#")
    found = (page.parent / path).resolve() if path else page
    if not found.is_relative_to(ROOT) or not found.exists():
        return False
    return not anchor or anchor in anchors(found)


@cache
def anchors(page: Path) -> set[str]:
    """As GitHub makes them: lower case, no punctuation, hyphens for blanks, numbers behind what comes again."""
    found: set[str] = set()
    for heading in HEADING.findall(CODE_BLOCK.sub("", page.read_text())):
        words = LINK.sub(lambda link: link[0][1:].partition("]")[0], heading)
        anchor = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
        number = next(n for n in range(1000) if (f"{anchor}-{n}" if n else anchor) not in found)
        found.add(f"{anchor}-{number}" if number else anchor)
    return found


def exists(page: Path, name: str) -> bool:
    """From the root, from docs/ or beside the page. A name without a folder may be anywhere in the repository."""
    if name.partition("/")[0] in MADE_AT_RUN_TIME or name in EXAMPLES:
        return True
    if "/" in name:
        return any((place / name).exists() for place in (ROOT, ROOT / "docs", page.parent))
    return name in names()


def is_in_api(path: str) -> bool:
    """True if a view of the API has this path: only the pattern for unknown URLs has no name."""
    return resolve(f"/api/v1/{path}").url_name is not None


def commands_of_ours() -> Iterator[str]:
    """The commands of all apps, including those of the examples, which are not installed here."""
    for folder in folders():
        yield from (path.stem for path in folder.rglob("management/commands/*.py"))


@cache
def names() -> set[str]:
    inside = (path.name for folder in folders() for path in folder.rglob("*") if path.is_file())
    return {*inside, *(path.name for path in ROOT.iterdir())}


@cache
def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def rows(page: Path) -> Iterator[list[str]]:
    """The cells of the page's tables, their heads included."""
    for line in prose(page).splitlines():
        if line.startswith("| "):
            yield [cell.strip() for cell in line.strip("|").split("|")]


@cache
def sources() -> str:
    ours = [
        ROOT / "routers.py",
        *(path for name in ("jobs", "mail", "monitor", "project", "rest") for path in (ROOT / name).rglob("*.py")),
    ]
    return "\n".join(path.read_text() for path in ours)


def is_logged(event: str) -> bool:
    call = r'(?:log(?:ger)?\.\w+\(|info_each\(log,)\s*(?:"\w+" if .* else )?'
    return re.search(rf'{call}"{event}"', sources()) is not None
