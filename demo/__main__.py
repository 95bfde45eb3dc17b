"""`make demo`: starts the stack on an empty database, and shows a job and some e-mails from a client's point of view.

Exits with 0 only if everything shown has happened."""

import argparse
import secrets
import sys
from pathlib import Path
from typing import Any

import requests

from demo.client import Client, UnexpectedAnswerError
from demo.eventually import TooLateError
from demo.mail import show_mail
from demo.processes import DiedError, stop_on_signals
from demo.screen import bar, console, fail, say, show_json, step
from demo.stack import ROOT, Stack

USER = "ada"
MAX_DELAY = 120
"""Seconds of delay that are tolerated: the machine may be busy with other work."""


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
        client = _log_in(stack, password)
        job = _post_job(client, seconds)
        _watch(client, job, seconds)
        _show_error(client)
        show_mail(client)
        stack.check()
    _show_next_steps()


def _log_in(stack: Stack, password: str) -> Client:
    step("A client asks for a token: POST /api/v1/tokens/")
    client = Client.login(stack.url, USER, password)
    say("201 Created; all further requests send it as [cyan]Authorization: Token …[/]")
    return client


def _post_job(client: Client, seconds: int) -> dict[str, Any]:
    order = {"kind": "demo.countdown", "params": {"seconds": seconds}}
    step(f"It posts {seconds} seconds of work: POST /api/v1/jobs/")
    show_json(order)
    answer = client.post("jobs/", order, expect=202)
    say(f"202 Accepted after {answer.elapsed.total_seconds() * 1000:.0f} ms; the work continues in the background")
    say(f"Location: {answer.headers['Location']}")
    job: dict[str, Any] = answer.json()
    _require(answer.headers["Location"] == job["url"], "Location and the job's url differ")
    return job


def _watch(client: Client, job: dict[str, Any], seconds: int) -> None:
    step("It polls the job's progress: GET, as often as Retry-After allows, 304 while nothing has changed")
    with bar() as show:
        for changed in client.follow(job["url"], within=seconds + MAX_DELAY):
            job = changed
            show(job["progress"]["percent"], job["progress"]["message"] or job["status"])
    _require(job["status"] == "succeeded", f"the job has {job['status']}: {job['error']}")
    _require(job["result"] == {"counted": seconds}, f"the job's result is {job['result']}")
    say(f"[green]{job['status']}[/] at attempt {job['attempt']} of {job['max_attempts']}; its result:")
    show_json(job["result"])


def _show_error(client: Client) -> None:
    step("An error says what to correct: here an unknown kind of job")
    answer = client.post("jobs/", {"kind": "make.coffee"}, expect=400)
    say(f"400 Bad Request, {answer.headers['Content-Type']}")
    show_json(answer.json())
    _require(answer.headers["Content-Type"].startswith("application/problem+json"), "the error is not problem+json")


def _show_next_steps() -> None:
    step("That was the demo. What to try next:")
    say("[cyan]make run[/]   the same stack, kept running: API documentation at /api/v1/docs/, task monitor at /admin/")
    say("[cyan]make test[/]  every test, on a real PostgreSQL")


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise UnexpectedAnswerError(f"{otherwise}.")


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
