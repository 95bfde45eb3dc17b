"""The package itself: its generated parts are up to date, and it builds as a wheel."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import get_type_hints
from zipfile import ZipFile

import pytest
from django.test import Client

from demo.stack import ROOT
from legwork_client import types

PACKAGE = ROOT / "clients" / "python"


def script(name: str) -> ModuleType:
    """A script of the package's folder, which cannot be imported by name."""
    module = ModuleType(name)
    module.__file__ = str(PACKAGE / f"{name}.py")
    exec(compile((PACKAGE / f"{name}.py").read_text(), module.__file__, "exec"), module.__dict__)  # noqa: S102 ours
    return module


def test_the_blocking_client_is_the_other_one_without_await(tmp_path: Path) -> None:
    script("make_sync").write(tmp_path / "sync")
    made = {path.name: path.read_text() for path in (tmp_path / "sync").glob("*.py")}
    assert made == {path.name: path.read_text() for path in (PACKAGE / "legwork_client" / "sync").glob("*.py")}
    assert len(made) > 5


def test_every_field_of_the_types_is_one_of_the_schema() -> None:
    """The types may lack a field that is new in the API. Run `make_types.py` if a field was removed there."""
    document = Client().get("/api/v1/schema/").json()
    made = script("make_types")
    for name, component in made.WANTED.items():
        known = set(document["components"]["schemas"][component]["properties"])
        assert set(get_type_hints(getattr(types, name))) <= known, name
    compile(made.module(document), "types.py", "exec")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "flit_core.wheel", "--outdir", str(folder), "."], cwd=PACKAGE, check=True)
    [built] = folder.glob("*.whl")
    return built


def test_the_wheel_is_typed_and_has_the_command(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
        [points] = [archive.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    assert {"legwork_client/py.typed", "legwork_client/sync/client.py", "legwork_client/worker.py"} <= names
    assert "legwork=legwork_client.command:main" in points


def test_the_wheel_works_by_itself(wheel: Path) -> None:
    """From the archive, as it would be installed."""
    code = "import legwork_client; print(legwork_client.__file__, legwork_client.Client().jobs)"
    ran = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(wheel)}, capture_output=True, text=True, cwd=wheel.parent
    )
    assert ran.returncode == 0, ran.stderr
    assert str(wheel) in ran.stdout
