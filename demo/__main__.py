"""`make demo`: starts the stack on an empty database, and shows a job and some e-mails from a client's point of view.

Exits with 0 only if everything shown has happened."""

import argparse
import secrets
import sys
from pathlib import Path

import requests

from demo import tour
from demo.client import UnexpectedAnswerError
from demo.eventually import TooLateError
from demo.processes import DiedError, stop_on_signals
from demo.screen import console, fail, say, step
from demo.stack import ROOT, Stack

USER = "ada"


def main() -> int:
    options = _options()
    stop_on_signals()
    stack = Stack.on_sqlite(options.folder, "demo", fresh=True)
    try:
        _show(stack, options.seconds)
    except (DiedError, TooLateError, UnexpectedAnswerError, requests.RequestException) as error:
        fail(str(error).partition("\n")[0])
        _show_logs(stack)
        return 1
    except KeyboardInterrupt:
        console.print("\nStopped.")
        return 130
    return 0


def _show(stack: Stack, seconds: int) -> None:
    step("Starting Legwork: a web process, a worker and a simulated Mailgun, on an empty SQLite database")
    password = secrets.token_urlsafe(12)
    stack.migrate()
    stack.add_user(USER, password)
    with stack:
        say(f"ready at {stack.url}")
        tour.show(stack.url, USER, password, seconds)
        stack.check()
    _show_next_steps()


def _show_next_steps() -> None:
    step("That was the demo. What to try next:")
    say("[cyan]make run[/]   the same stack, kept running: API documentation at /api/v1/docs/, task monitor at /admin/")
    say("[cyan]make test[/]  every test, on a real PostgreSQL")


def _show_logs(stack: Stack) -> None:
    for process in stack.processes:
        if tail := process.tail(10):
            console.print(f"\nThe end of {process.log}:\n{tail}", markup=False, style="dim")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="duration of the job")
    parser.add_argument("--folder", type=Path, default=ROOT / "var", help="folder for the database and the logs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
