"""A virtual environment for each peer, made from its locked requirements below var/bench; kept until those change."""

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "benchmarks" / "peers"
VENVS = ROOT / "var" / "bench"
OURS = "legwork"
"""Legwork itself runs in the environment that runs the bench."""


class NoPythonError(Exception):
    """A peer needs a newer Python than the one that runs the bench, and no such one was found."""


def python_of(name: str) -> str:
    """The interpreter of this peer's environment, which is made first where it is missing or out of date.

    Raises NoPythonError.
    """
    if name == OURS:
        return sys.executable
    folder = VENVS / name
    lock = REQUIREMENTS / f"{name}.txt"
    ready = folder / "ready"
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    if not ready.exists() or ready.read_text() != digest:
        _make(folder, lock, _base_python(least_python(name)))
        ready.write_text(digest)
    return str(folder / "bin" / "python")


def versions(name: str) -> dict[str, str]:
    """The packages of this peer's lock and their exact versions."""
    lock = ROOT / "requirements.txt" if name == OURS else REQUIREMENTS / f"{name}.txt"
    pins = (line.split()[0].split("==") for line in lock.read_text().splitlines() if line[:1].isalpha())
    return dict(pins)


def least_python(name: str) -> tuple[int, int]:
    """The oldest Python that this peer runs on, where its requirements begin with `# Python 3.12`."""
    named = re.match(r"# Python (\d+)\.(\d+)\n", (REQUIREMENTS / f"{name}.in").read_text())
    return (int(named[1]), int(named[2])) if named else (0, 0)


def _base_python(least: tuple[int, int]) -> str:
    """The Python that makes an environment: the one that runs the bench, where that is new enough."""
    if sys.version_info >= least:
        return sys.executable
    for minor in range(least[1], least[1] + 3):
        found = shutil.which(f"python{least[0]}.{minor}")
        # Version managers install commands for inactive versions, which only print an error.
        if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:  # noqa: S603
            return found
    raise NoPythonError(f"it needs Python {least[0]}.{least[1]} or newer, which was not found")


def _make(folder: Path, lock: Path, base: str) -> None:
    subprocess.run([base, "-m", "venv", "--clear", folder], check=True)  # noqa: S603 the command is ours
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", lock], check=True)  # noqa: S603
