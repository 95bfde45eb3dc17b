"""`make run`: runs the stack on var/legwork.sqlite3 until Ctrl-C, and shows a login and the logs."""

import argparse
import os
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from demo.eventually import TooLateError
from demo.processes import DiedError, free_port, is_free, stop_on_signals
from demo.screen import console, fail, say, step
from demo.stack import ROOT, Stack

USER = "admin"
STYLES = ["cyan", "magenta", "green", "yellow"]


def main() -> int:
    folder = _folder()
    stop_on_signals()
    try:
        stack = Stack.on_sqlite(folder, "legwork", port=_port())
        password = _password(folder / "login")
        step("Starting Legwork …")
        stack.migrate()
        stack.add_user(USER, password, staff=True)
        with stack:
            _introduce(stack, password)
            _follow_logs(stack)
    except (DiedError, TooLateError) as error:
        fail(str(error))
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped.")
    return 0


def _folder() -> Path:
    parser = argparse.ArgumentParser(prog="python -m demo.run", description=__doc__)
    parser.add_argument("--folder", type=Path, default=ROOT / "var", help="folder for database, login and logs")
    folder: Path = parser.parse_args().folder
    return folder


def _port() -> int:
    wanted = os.environ.get("PORT", "")
    if not wanted:
        return free_port(8000)
    if not wanted.isdigit() or not is_free(int(wanted)):
        raise DiedError(f"PORT is {wanted}, but no server can listen there: not a number, or in use.")
    return int(wanted)


def _password(file: Path) -> str:
    """Generated once and kept beside the database, readable only by its owner, so a login outlives a restart."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_urlsafe(12))
    return file.read_text().strip()


def _introduce(stack: Stack, password: str) -> None:
    step("Legwork is up; Ctrl-C stops it.")
    say(f"Jobs and mail      [cyan]{stack.url}/[/]")
    say(f"API documentation  [cyan]{stack.url}/api/v1/docs/[/]")
    say(f"Task monitor       [cyan]{stack.url}/admin/[/]")
    say(f"Inbox              [cyan]{stack.mailgun_url}/[/], of the simulated Mailgun")
    say(f"Login              user [bold]{USER}[/], password [bold]{password}[/]")
    console.print()


def _follow_logs(stack: Stack) -> None:
    """Until Ctrl-C, or until a process ends (DiedError)."""
    logs = [(process.name, process.log.open(errors="replace")) for process in stack.processes]
    while True:
        stack.check()
        for (name, log), style in zip(logs, STYLES, strict=False):
            for line in _new_lines(log):
                console.print(f"[{style}]{name:>7} |[/] ", end="")
                console.print(line, markup=False)
        time.sleep(0.2)


def _new_lines(log: TextIO) -> Iterator[str]:
    while line := log.readline():
        yield line.rstrip("\n")


if __name__ == "__main__":
    sys.exit(main())
