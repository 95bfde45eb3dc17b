"""bin/release, in a clone: what it makes and tags, and what it refuses."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import legwork_client
from demo.stack import ROOT

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def run(*command: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    program = [str(part) for part in command]
    return subprocess.run(program, cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **env})


def git(*arguments: str, cwd: Path) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    done = run("git", *identity, *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone without tags, with the present script, changelog and versions committed."""
    folder = tmp_path / "clone"
    git("clone", "--quiet", "--no-tags", str(ROOT), str(folder), cwd=tmp_path)
    for name in ("bin/release", "CHANGELOG.md", "pyproject.toml", "requirements.txt", "clients/python/pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    git("config", "user.name", "Ada", cwd=folder)
    git("config", "user.email", "ada@example.org", cwd=folder)
    git("add", "--all", cwd=folder)
    git("commit", "--quiet", "--allow-empty", "--message", "As it is here", cwd=folder)
    return folder


def release(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run bin/release with this environment's Python and without container programs: tests build no image."""
    programs = clone / ".venv" / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    for name, does in {"python": f'exec {sys.executable} "$@"', "docker": "exit 1", "podman": "exit 1"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{does}\n")
        (programs / name).chmod(0o755)
    return run(clone / "bin" / "release", *arguments, cwd=clone, PATH=f"{programs}:{os.environ['PATH']}")


def test_a_release_has_all_its_parts_and_is_tagged(clone: Path, tmp_path: Path) -> None:
    made = release(clone, str(tmp_path / "made"))
    assert made.returncode == 0, made.stderr
    files = {file.name: file for file in (tmp_path / "made").iterdir()}
    wheel = f"legwork_client-{VERSION}-py3-none-any.whl"
    assert set(files) == {f"legwork-{VERSION}.zip", wheel, f"legwork-{VERSION}.cdx.json", "SHA256SUMS"}
    with zipfile.ZipFile(files[f"legwork-{VERSION}.zip"]) as bundle:
        assert "manage.py" in bundle.namelist()
    sums = dict(reversed(line.split()) for line in files["SHA256SUMS"].read_text().splitlines())
    assert sums == {name: hashlib.sha256(files[name].read_bytes()).hexdigest() for name in sums}
    assert len(sums) == 3
    assert git("describe", "--exact-match", "HEAD", cwd=clone).strip() == f"v{VERSION}"
    assert git("cat-file", "-t", f"v{VERSION}", cwd=clone).strip() == "tag"
    assert git("tag", "--list", "--format=%(contents:subject)", cwd=clone).startswith(f"Legwork {VERSION}")
    assert "No image was made" in made.stdout
    assert f"git push origin v{VERSION}" in made.stdout


def test_the_sbom_lists_every_locked_package(clone: Path, tmp_path: Path) -> None:
    assert release(clone, str(tmp_path / "made")).returncode == 0
    sbom = json.loads((tmp_path / "made" / f"legwork-{VERSION}.cdx.json").read_text())
    listed = {f"{part['name']}=={part['version']}".lower() for part in sbom["components"]}
    locked = re.findall(r"^([\w.\[\]-]+==[^ ]+)", (clone / "requirements.txt").read_text(), re.MULTILINE)
    assert {re.sub(r"\[.*\]", "", each).lower() for each in locked} == listed
    assert (sbom["metadata"]["component"]["name"], sbom["metadata"]["component"]["version"]) == ("legwork", VERSION)


def test_a_tree_that_is_not_clean_is_not_released(clone: Path) -> None:
    (clone / "README.md").write_text("changed")
    (clone / "new file.py").touch()
    refused = release(clone)
    assert refused.returncode == 1
    assert refused.stderr == 'The tree is not clean; commit or remove: README.md, "new file.py"\n'
    assert git("tag", "--list", cwd=clone) == ""


def test_the_client_names_its_version() -> None:
    assert legwork_client.__version__ == VERSION


def test_a_version_is_released_once(clone: Path) -> None:
    git("tag", f"v{VERSION}", cwd=clone)
    assert f"The tag v{VERSION} exists; raise the version" in release(clone).stderr


@pytest.mark.parametrize(
    ("file", "sentence"),
    [
        ("clients/python/pyproject.toml", f"The client's version is 0.0.1 and not {VERSION}"),
        ("CHANGELOG.md", f"CHANGELOG.md has no section {VERSION}"),
    ],
)
def test_versions_have_to_agree(clone: Path, file: str, sentence: str) -> None:
    changed = (clone / file).read_text().replace(f'version = "{VERSION}"', 'version = "0.0.1"')
    (clone / file).write_text(changed.replace(f"## {VERSION}", "## 0.0.1"))
    git("commit", "--quiet", "--all", "--message", "Forget it", cwd=clone)
    refused = release(clone, "--check")
    assert refused.returncode == 1
    assert sentence in refused.stderr


def test_what_can_be_released_passes_the_check_and_is_not_tagged(clone: Path) -> None:
    assert release(clone, "--check").returncode == 0
    assert git("tag", "--list", cwd=clone) == ""
