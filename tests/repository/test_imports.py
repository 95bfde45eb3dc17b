"""Imports point one way (docs/architecture.md): read from the source, so that no test run has to meet a cycle first."""

import ast
import textwrap
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from demo.stack import ROOT

MAY_IMPORT = {
    "project": {"project", "routers", "mail", "jobs"},
    "mail": {"mail", "jobs"},
    "jobs": {"jobs", "routers"},
    "routers": set(),
    "settings": {"settings"},
    "demo": {"demo"},
}
"""Which of our own packages each may import."""

ALSO = {"settings": {"project.logging"}}
"""Single modules that a package may import beyond that."""

LAYERS = ["models", "serializers", "views", "urls"]
"""Inside an app, from the leaf to the root: none may reach one that stands after it, not even by way of others."""


class Import(NamedTuple):
    importer: str
    imported: str
    line: int
    nested: bool

    def __str__(self) -> str:
        return f"{self.importer}, line {self.line}: imports {self.imported}"


def test_our_imports_point_one_way() -> None:
    assert violations(ROOT) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("jobs/models/queryset.py", "import project.urls"),
        ("jobs/models/queryset.py", "from mail import models"),
        ("jobs/models/queryset.py", "from mail.models import Message"),
        ("mail/models.py", "import project.logging"),
        ("routers.py", "from jobs.models import Job"),
        ("settings/base.py", "from project.urls import urlpatterns"),
        ("settings/base.py", "import jobs.models"),
    ],
)
def test_an_import_against_the_direction_is_found(tmp_path: Path, path: str, source: str) -> None:
    make_tree(tmp_path, {path: source})
    assert any("must not be imported there" in found for found in violations(tmp_path))


@pytest.mark.parametrize("source", ["from jobs import views", "from jobs.api.views import show", "from . import views"])
def test_a_model_that_imports_a_view_is_found(tmp_path: Path, source: str) -> None:
    make_tree(tmp_path, {"jobs/models.py": source})
    assert violations(tmp_path) == ["jobs.models reaches jobs.api.views"]


def test_a_model_that_reaches_a_view_by_way_of_another_module_is_found(tmp_path: Path) -> None:
    make_tree(
        tmp_path, {"jobs/models.py": "import jobs.models.queryset", "jobs/models/queryset.py": "import jobs.api.views"}
    )
    assert violations(tmp_path) == ["jobs.models reaches jobs.api.views"]


@pytest.mark.parametrize(
    "source",
    [
        "def late():\n    from jobs import models",
        "class Late:\n    def method(self):\n        import jobs.models",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from jobs.models import Job",
        "try:\n    import jobs.models\nexcept ImportError:\n    pass",
    ],
)
def test_an_import_that_is_not_at_the_top_of_its_file_is_found(tmp_path: Path, source: str) -> None:
    make_tree(tmp_path, {"jobs/models/queryset.py": source})
    [found] = violations(tmp_path)
    assert "not at the top" in found


def test_a_cycle_is_found(tmp_path: Path) -> None:
    make_tree(tmp_path, {"jobs/models/queryset.py": "import jobs.run", "jobs/run.py": "import jobs.models.queryset"})
    [found] = violations(tmp_path)
    assert "cycle" in found


def test_what_the_design_allows_is_allowed(tmp_path: Path) -> None:
    make_tree(
        tmp_path,
        {
            "jobs/api/urls.py": "from jobs import views",
            "jobs/api/views.py": "from jobs.api.serializers import JobSerializer\nimport django",
            "jobs/api/serializers.py": "from jobs.models import Job",
            "mail/models.py": "from jobs.models import Job",
            "mail/sending/send.py": "def late():\n    import smtplib",
            "project/urls.py": "import routers\nfrom jobs import urls\nfrom mail import sending",
            "settings/base.py": "from project.logging import logging_config\nfrom settings import env",
        },
    )
    assert violations(tmp_path) == []


def violations(root: Path) -> list[str]:
    imports = [found for path in our_files(root) for found in imports_of(path, root)]
    graph: dict[str, set[str]] = {}
    for found in imports:
        graph.setdefault(found.importer, set()).add(found.imported)
    return [
        *(f"{found}, which must not be imported there" for found in imports if not allowed(found)),
        *(f"{found}, not at the top of the file" for found in imports if found.nested),
        *layers_crossed(graph),
        *cycles(graph),
    ]


def our_files(root: Path) -> list[Path]:
    files = [*root.glob("*.py")] + [path for package in MAY_IMPORT for path in (root / package).rglob("*.py")]
    return sorted(path for path in files if top(module_name(path, root)) in MAY_IMPORT)


def imports_of(path: Path, root: Path) -> Iterator[Import]:
    """Every import of a module of ours, whatever way it is written."""
    tree = ast.parse(path.read_text())
    importer = module_name(path, root)
    package = importer if path.name == "__init__.py" else importer.rpartition(".")[0]
    for node in ast.walk(tree):
        for name in names_imported(node, package, root):
            if top(name) in MAY_IMPORT:
                yield Import(importer, name, node.lineno, nested=node not in tree.body)


def names_imported(node: ast.AST, package: str, root: Path) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        for alias in node.names:
            yield f"{base}.{alias.name}" if is_module(f"{base}.{alias.name}", root) else base


def is_module(name: str, root: Path) -> bool:
    path = root.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or path.is_dir()


def module_name(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def allowed(found: Import) -> bool:
    package = top(found.importer)
    return top(found.imported) in MAY_IMPORT[package] or found.imported in ALSO.get(package, set())


def layers_crossed(graph: dict[str, set[str]]) -> list[str]:
    return [
        f"{module} reaches {other}"
        for module in sorted(graph)
        for other in sorted(reached(module, graph))
        if top(module) == top(other) and 0 <= layer(module) < layer(other)
    ]


def reached(module: str, graph: dict[str, set[str]]) -> set[str]:
    seen: set[str] = set()
    todo = [module]
    while todo:
        new = graph.get(todo.pop(), set()) - seen
        seen |= new
        todo += new
    return seen


def layer(module: str) -> int:
    """The place in LAYERS of an app's module, or of what is in an app's package of that name; -1 for all others."""
    _, _, inside = module.partition(".")
    return LAYERS.index(top(inside)) if top(inside) in LAYERS else -1


def cycles(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"cycle: {' → '.join(reversed(error.args[1]))}"]
    return []


def top(name: str) -> str:
    return name.partition(".")[0]


def make_tree(root: Path, sources: dict[str, str]) -> None:
    """The files, and an empty one for each module of the app that they may name."""
    stubs = [f"jobs/{name}.py" for name in ("__init__", "models", "serializers", "views", "urls")]
    for path, source in {**dict.fromkeys(stubs, ""), **sources}.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
