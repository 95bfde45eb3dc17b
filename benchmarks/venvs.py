"""A virtual environment for each peer, made from its locked requirements below var/bench; kept until those change."""

import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "benchmarks" / "peers"
VENVS = ROOT / "var" / "bench"
OURS = "legwork"
"""Legwork itself runs in the environment that runs the bench."""


def python_of(name: str) -> str:
    """The interpreter of this peer's environment, which is made first where it is missing or out of date."""
    if name == OURS:
        return sys.executable
    folder = VENVS / name
    lock = REQUIREMENTS / f"{name}.txt"
    ready = folder / "ready"
    digest = hashlib.sha256(lock.read_bytes() + sys.version.encode()).hexdigest()
    if not ready.exists() or ready.read_text() != digest:
        _make(folder, lock)
        ready.write_text(digest)
    return str(folder / "bin" / "python")


def versions(name: str) -> dict[str, str]:
    """The packages of this peer's lock and their exact versions."""
    lock = ROOT / "requirements.txt" if name == OURS else REQUIREMENTS / f"{name}.txt"
    pins = (line.split()[0].split("==") for line in lock.read_text().splitlines() if line[:1].isalpha())
    return dict(pins)


def _make(folder: Path, lock: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)  # noqa: S603 the command is ours
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", lock], check=True)  # noqa: S603
