"""`make demo`: the stack on an empty database, a job and some e-mails through it, seen from outside.

Exits 0 only if everything that it shows has happened."""

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
PATIENCE = 120
"""Seconds that a job may come late: a machine that has more to do than this demo is no failure of it."""


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
        _show_mistake(client)
        show_mail(client)
        stack.check()
    _tell_how_to_go_on()


def _log_in(stack: Stack, password: str) -> Client:
    step("A client asks for a token: POST /api/v1/tokens/")
    client = Client.login(stack.url, USER, password)
    say("201 Created; every further request carries it as [cyan]Authorization: Token …[/]")
    return client


def _post_job(client: Client, seconds: int) -> dict[str, Any]:
    order = {"kind": "demo.countdown", "params": {"seconds": seconds}}
    step(f"It posts {seconds} seconds of work: POST /api/v1/jobs/")
    show_json(order)
    answer = client.post("jobs/", order, expect=202)
    say(f"202 Accepted after {answer.elapsed.total_seconds() * 1000:.0f} ms; the work goes on without the client")
    say(f"Location: {answer.headers['Location']}")
    job: dict[str, Any] = answer.json()
    _demand(answer.headers["Location"] == job["url"], "Location and the job's url differ")
    return job


def _watch(client: Client, job: dict[str, Any], seconds: int) -> None:
    step("It asks how far the job is: GET, as often as Retry-After says, 304 while nothing has changed")
    with bar() as show:
        for changed in client.follow(job["url"], within=seconds + PATIENCE):
            job = changed
            show(job["progress"]["percent"], job["progress"]["message"] or job["status"])
    _demand(job["status"] == "succeeded", f"the job has {job['status']}: {job['error']}")
    _demand(job["result"] == {"counted": seconds}, f"the job's result is {job['result']}")
    say(f"[green]{job['status']}[/] at attempt {job['attempt']} of {job['max_attempts']}; its result:")
    show_json(job["result"])


def _show_mistake(client: Client) -> None:
    step("A mistake is answered with what to mend: an unknown kind of job")
    answer = client.post("jobs/", {"kind": "make.coffee"}, expect=400)
    say(f"400 Bad Request, {answer.headers['Content-Type']}")
    show_json(answer.json())
    _demand(answer.headers["Content-Type"].startswith("application/problem+json"), "the error is not problem+json")


def _tell_how_to_go_on() -> None:
    step("That was all of it. To go on:")
    say("[cyan]make run[/]   the same, staying up: API documentation at /api/v1/docs/, task monitor at /admin/")
    say("[cyan]make test[/]  every test, on a real PostgreSQL")


def _demand(condition: bool, otherwise: str) -> None:
    if not condition:
        raise UnexpectedAnswerError(f"{otherwise}.")


def _show_logs(stack: Stack) -> None:
    for process in stack.processes:
        if tail := process.tail(10):
            console.print(f"\nThe end of {process.log}:\n{tail}", markup=False, style="dim")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--seconds", type=int, default=5, help="how long the job works")
    parser.add_argument("--folder", type=Path, default=ROOT / "var", help="where the database and the logs are put")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
