"""The command `legwork`: LEGWORK_URL and LEGWORK_TOKEN say where, and as whom."""

import argparse
import asyncio
import getpass
import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from legwork_client.errors import LegworkError
from legwork_client.progress_bar import ProgressBar
from legwork_client.sync.client import Client
from legwork_client.task import Task
from legwork_client.types import Job
from legwork_client.worker import Worker

FAILED, MISUSED = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, 1 if the API or the job says no, 2 for a wrong call."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except LegworkError as error:
        print(error, file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return 128 + 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="legwork", description="Legwork's command line.")
    parser.add_argument("--url", help="of the site, instead of LEGWORK_URL")
    parser.add_argument("--token", help="instead of LEGWORK_TOKEN")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    login = _command(commands, "login", _login, "print a new token")
    login.add_argument("username")
    login.add_argument("--name", default="", help="of this device, for the list of tokens")
    login.add_argument("--scope", choices=["all", "read", "leases"])

    submit = _command(commands, "submit", _submit, "submit a job")
    submit.add_argument("kind")
    submit.add_argument("params", nargs="*", metavar="NAME=VALUE", type=_pair, help="a value is JSON, else a text")
    submit.add_argument("--wait", action="store_true", help="show its progress, and print its result")
    submit.add_argument("--key", help="idempotency key: the same key again submits nothing")
    submit.add_argument("--run-at", help="RFC 3339")
    submit.add_argument("--priority", type=int)

    jobs = _command(commands, "jobs", _jobs, "list your jobs, newest first")
    jobs.add_argument("--status")
    jobs.add_argument("--kind")
    jobs.add_argument("-n", "--number", type=int, default=20)

    _command(commands, "watch", _watch, "show a job until it has finished").add_argument("job")
    _command(commands, "cancel", _cancel, "cancel a job").add_argument("job")

    mail = _command(commands, "mail", _mail, "send a message; its text comes from standard input")
    mail.add_argument("to")
    mail.add_argument("subject")
    mail.add_argument("--importance", choices=["critical", "normal", "bulk"])
    mail.add_argument("--wait", action="store_true", help="until it is delivered or not")

    worker = _command(commands, "worker", _worker, "run jobs of a remote kind with a program")
    worker.add_argument("kind")
    worker.add_argument("program", nargs=argparse.REMAINDER, help="gets params on standard input, prints the result")
    worker.add_argument("--name", help="of this worker")
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _pair(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _client(options: argparse.Namespace) -> Client:
    return Client(options.url, options.token)


def _login(options: argparse.Namespace) -> int:
    password = getpass.getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")
    with Client.login(options.url, options.username, password, name=options.name, scope=options.scope) as client:
        print(client.token)
    return 0


def _submit(options: argparse.Namespace) -> int:
    with _client(options) as client:
        job = client.jobs.submit(
            options.kind,
            dict(options.params),
            run_at=options.run_at,
            priority=options.priority,
            idempotency_key=options.key,
        )
        if not options.wait:
            print(job["id"])
            return 0
        return _follow(client, job)


def _jobs(options: argparse.Namespace) -> int:
    with _client(options) as client:
        found = client.jobs.find(status=options.status, kind=options.kind, page_size=max(1, min(options.number, 200)))
        for _, job in zip(range(options.number), found, strict=False):
            print(f"{job['id']}  {job['status']:<9} {job['progress']['percent']:3.0f} %  {job['kind']}")
    return 0


def _watch(options: argparse.Namespace) -> int:
    with _client(options) as client:
        return _follow(client, options.job)


def _cancel(options: argparse.Namespace) -> int:
    with _client(options) as client:
        job = client.jobs.cancel(options.job)
        print("it will stop" if job["status"] == "running" else job["status"])
    return 0


def _mail(options: argparse.Namespace) -> int:
    with _client(options) as client:
        message = client.mail.send(options.to, options.subject, text=sys.stdin.read(), importance=options.importance)
        if options.wait:
            message = client.mail.wait(message)
        print(message["id"], message["status"])
        return 0 if message["failure"] is None else FAILED


def _worker(options: argparse.Namespace) -> int:
    program: list[str] = options.program[1:] if options.program[:1] == ["--"] else options.program
    if not program:
        print("legwork worker: which program?", file=sys.stderr)
        return MISUSED
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    worker = Worker(options.url, options.token, name=options.name)

    @worker.handles(options.kind)
    async def run(task: Task, **params: Any) -> Any:
        """The last line that the program prints is the result, as JSON or text; a status other than 0 is a failure."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe)
        try:
            printed, _ = await process.communicate(json.dumps(params).encode())
        except asyncio.CancelledError:
            process.terminate()
            raise
        if process.returncode:
            raise RuntimeError(f"{program[0]} ended with status {process.returncode}")
        lines = printed.decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "null")
        try:
            return json.loads(last)
        except ValueError:
            return last

    worker.run()
    return 0


def _follow(client: Client, job: Job | str) -> int:
    """Show the job until it has finished; print its result, or its error on standard error."""
    bar = ProgressBar(sys.stderr)
    state: Job | None = None
    for state in client.jobs.changes(job):
        bar.show(state)
    bar.close()
    if state is None or state["status"] != "succeeded":
        print(state and state["error"] and state["error"]["message"], file=sys.stderr)
        return FAILED
    print(json.dumps(state["result"]))
    return 0
