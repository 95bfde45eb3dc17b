"""Writes legwork_client/sync from legwork_client/aio: the same code without async and await, put in order by ruff."""

import re
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent / "legwork_client"
RUFF = [sys.executable, "-m", "ruff"]
REPLACEMENTS = {
    r"\bawait ": "",
    r"\basync (def|for|with)\b": r"\1",
    r"\ba(close|closing|iter_lines)\b": r"\1",
    r"__a(enter|exit)__": r"__\1__",
    r"\basynccontextmanager\b": "contextmanager",
    r"\bAsyncGenerator\[Any, None\]": "Generator[Any, None, None]",
    r"\bAsync(?=[A-Z])": "",
    r"\bfrom asyncio import sleep\b": "from time import sleep",
    r"\blegwork_client\.aio\b": "legwork_client.sync",
    r"for asyncio\. .*\.": "blocking. Made from legwork_client/aio by make_sync.py; do not edit.",
}


def synchronous(source: str) -> str:
    for pattern, replacement in REPLACEMENTS.items():
        source = re.sub(pattern, replacement, source)
    return source


def write(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    for path in (PACKAGE / "aio").glob("*.py"):
        (folder / path.name).write_text(synchronous(path.read_text()))
    config = ["--quiet", "--config", str(Path(__file__).parents[2] / "pyproject.toml"), str(folder)]
    subprocess.run([*RUFF, "check", "--select", "I,UP028", "--fix", "--unsafe-fixes", *config], check=True)
    subprocess.run([*RUFF, "format", *config], check=True)


if __name__ == "__main__":
    write(PACKAGE / "sync")
