"""What others make of the OpenAPI document: linters find nothing, and generated clients compile and work."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from demo.stack import ROOT
from tests.support.stack import ADA, Stack
from tests.support.timeouts import PATIENCE

SOURCE = ROOT / "tests" / "support" / "openapi_tools"
PACKAGES = ROOT / "var" / "openapi_tools" / "node_modules"
AT_MOST = 3 * PATIENCE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, _sqlite_stack: Stack) -> Path:
    """With the document of a running stack, the sources of what uses the clients, and the npm packages."""
    if not PACKAGES.is_dir():
        pytest.fail("The npm packages of tests/support/openapi_tools are missing; bin/npm-packages installs them.")
    made = tmp_path_factory.mktemp("clients")
    shutil.copytree(SOURCE, made, dirs_exist_ok=True)
    (made / "node_modules").symlink_to(PACKAGES)
    document = _sqlite_stack.anonymous().get("schema/", expect=200).json()
    (made / "openapi.json").write_text(json.dumps(document))
    return made


def run(folder: Path, *command: str) -> str:
    """Output of a program that must succeed."""
    env = {**os.environ, "PATH": f"{folder}/node_modules/.bin:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    env |= {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=AT_MOST)
    assert done.returncode == 0, f"{command}: {done.stdout[-4000:]} {done.stderr[-4000:]}"
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["spectral", "lint", "--ruleset", "spectral.yaml", "--fail-severity", "hint", "openapi.json"],
        ["redocly", "lint", "--config", "redocly.yaml", "openapi.json"],
    ],
    ids=["spectral", "redocly"],
)
def test_linters_find_nothing(sqlite_stack: Stack, folder: Path, command: Sequence[str]) -> None:
    assert not re.search(r"\b[1-9]\d* (warning|error|problem)", run(folder, *command))


def test_openapi_python_client_makes_every_operation_and_works(sqlite_stack: Stack, folder: Path) -> None:
    options = ["--path", "openapi.json", "--meta", "none", "--output-path", "legwork_client", "--overwrite"]
    assert "WARNING" not in run(folder, "openapi-python-client", "generate", *options)
    made = {path.stem for path in (folder / "legwork_client" / "api").glob("*/*.py")} - {"__init__"}
    assert operation_ids(folder) <= made
    key = sqlite_stack.run_code(NEW_TOKEN).strip()
    assert run(folder, sys.executable, "use_openapi_python_client.py", sqlite_stack.url, key).strip() == "succeeded"


def test_typescript_clients_make_every_operation_compile_and_work(sqlite_stack: Stack, folder: Path) -> None:
    run(folder, "openapi-typescript", "openapi.json", "--output", "openapi-typescript/schema.d.ts")
    run(folder, "openapi-ts", "--file", "openapi-ts.config.js")
    made = set(re.findall(r"^export const (\w+) =", (folder / "openapi-ts" / "sdk.gen.ts").read_text(), re.MULTILINE))
    assert {camel(name) for name in operation_ids(folder)} <= made
    run(folder, "tsc", "--project", "tsconfig.json")
    key = sqlite_stack.run_code(NEW_TOKEN).strip()
    for name in ("openapi-typescript", "openapi-ts"):
        assert run(folder, "node", "built/use.js", name, sqlite_stack.url, key).strip() == "succeeded"


NEW_TOKEN = f"""
from django.contrib.auth.models import User
from project.models import Token
print(Token.objects.create(User.objects.get(username={ADA!r}))[1])
"""


def operation_ids(folder: Path) -> set[str]:
    paths = json.loads((folder / "openapi.json").read_text())["paths"]
    return {operation["operationId"] for methods in paths.values() for operation in methods.values()}


def camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)
