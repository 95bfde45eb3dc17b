"""`python -m benchmarks.api`: how many requests does one web process answer, beside its peers?

Each has one process and a database of its own on the same PostgreSQL. wrk sends the same requests to all: GET one job,
GET it with its ETag, GET a list of 50, and POST a job, for which the peers also enqueue a task (Celery or django-q2).
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import requests
from rich.console import Console

from benchmarks import machine
from benchmarks.chart import Mark, bars
from benchmarks.page import Page
from benchmarks.stores import Stores, running_stores
from benchmarks.tree import Tree
from benchmarks.venvs import OURS, ROOT, python_of, versions
from demo.eventually import eventually
from demo.processes import Process, free_port, stop_on_signals
from demo.stack import MANAGE

RESULTS = ROOT / "benchmarks" / "results"
FOLDER = ROOT / "var" / "bench"
USERS, JOBS = 16, 60
ORDER = '{"kind":"demo.countdown","params":{"seconds":0}}'
CONNECTIONS = (16, 64)
FILL = f"""
import json
from django.contrib.auth.models import User
from jobs.submit import submit_many
from project.models import Token
found = []
for number in range({USERS}):
    user = User.objects.create(username=f"user{{number}}")
    [job, *_] = submit_many("demo.countdown", [{{"seconds": 0}}] * {JOBS}, user=user)
    found.append({{"token": Token.objects.create(user)[1], "job": str(job)}})
print(json.dumps(found))
"""
METHOD = f"""\
One process each, {USERS} users with {JOBS} jobs each, whose requests wrk sends in turn; access logs are off everywhere.
All check the token and the user of each request in the database and answer the same fields. Rates, and latencies in
ms, are medians of the rounds. CPU is that of the process, in µs a request; of all figures it depends least on other
load of the machine. Servers, wrk and the process share the machine's cores. PostgreSQL commits durably. No worker runs:
POSTs store and enqueue."""
HEADINGS = ["", "requests/s", "times FastAPI's", "p50", "p99", "CPU", "failed"]

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Side:
    """One contender. fill: prints a token and a job of each user as JSON. serve: the command, with {port}."""

    name: str
    title: str
    environment: str
    fill: tuple[str, ...]
    serve: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


OUR_SETTINGS = {"DJANGO_SETTINGS_MODULE": "settings.development", "LOG_LEVEL": "WARNING"} | {
    "RATE_LIMIT_PER_MINUTE": "1000000000"
}
UVICORN = ("-m", "uvicorn", "--port", "{port}", "--log-level", "warning", "--no-access-log")
DJANGO = "benchmarks.peers.api_django"
SIDES = (
    Side("legwork", "Legwork", OURS, (), (*UVICORN, "project.asgi:application"), OUR_SETTINGS),
    Side(
        "fastapi",
        "FastAPI, asyncpg, Celery",
        "api_fastapi",
        ("-m", "benchmarks.peers.api_fastapi", str(USERS), str(JOBS)),
        (*UVICORN, "benchmarks.peers.api_fastapi:app"),
    ),
    Side(
        "drf",
        "DRF, Celery, gunicorn threads",
        "api_django",
        ("-m", DJANGO, str(USERS), str(JOBS)),
        ("-m", "gunicorn", "--bind", "127.0.0.1:{port}", "--threads", "16", f"{DJANGO}.wsgi"),
        {"BENCH_QUEUE": "celery"},
    ),
    Side(
        "django_q2",
        "DRF, django-q2, plain ASGI",
        "api_django",
        ("-m", DJANGO, str(USERS), str(JOBS)),
        (*UVICORN, f"{DJANGO}.asgi:application"),
        {"BENCH_QUEUE": "django_q"},
    ),
)


@dataclass(frozen=True)
class Call:
    """A request that is measured. bar, aim: required and desired multiple of FastAPI's rate."""

    name: str
    title: str
    bar: float
    aim: float

    def lines(self, rows: Rows, etags: Sequence[str]) -> Iterator[str]:
        """For requests.lua."""
        for row, etag in zip(rows, etags, strict=True):
            path = "/api/v1/jobs/" if self.name in ("list", "post") else f"/api/v1/jobs/{row['job']}/"
            method, body = ("POST", ORDER) if self.name == "post" else ("GET", "-")
            yield f"{method} {path} {row['token']} {etag if self.name == '304' else '-'} {body}"


CALLS = (
    Call("get", "GET of one job", 4, 10),
    Call("304", "GET of one job with its ETag: 304", 5, 12),
    Call("list", "GET of a list of 50 jobs", 1.5, 3),
    Call("post", "POST of a job", 2, 4),
)


@dataclass
class Sample:
    """rate: requests a second. p50, p99: ms. cpu: µs a request. failed: answers that are errors, and time-outs."""

    rate: float
    p50: float
    p99: float
    cpu: float
    failed: int


Samples = dict[tuple[str, str, int], list[Sample]]
"""By call, side and connections."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    console = Console(highlight=False, soft_wrap=True)
    sides = [side for side in SIDES if side.name in options.sides]
    for side in sides:
        with console.status(f"The environment of {side.title} …"):
            python_of(side.environment)
    facts = machine.facts() | {"size": f"{options.rounds} rounds, {options.seconds:g} s for each figure"}
    facts["FastAPI, SQLAlchemy"] = ", ".join(versions("api_fastapi")[name] for name in ("fastapi", "sqlalchemy"))
    samples: Samples = {}
    memory: dict[str, float] = {}
    with running_stores() as stores:
        facts |= stores.versions()
        for number in range(options.rounds):
            for side in sides if number % 2 == 0 else reversed(sides):
                console.print(f"round {number + 1} of {options.rounds}: {side.title}")
                with serving(side, stores) as (url, rows, tree):
                    for name, connections, sample in _measure(url, rows, tree, options.seconds):
                        console.print(f"  {name}, {connections} connections: {sample.rate:,.0f}/s")
                        samples.setdefault((name, side.name, connections), []).append(sample)
                    memory[side.name] = tree.memory().pss
    page = _page(sides, facts, samples, memory)
    console.print(page.markdown(), markup=False)
    _write(options.results, page, sides, samples)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.api", description=__doc__)
    names = [side.name for side in SIDES]
    parser.add_argument("--sides", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--rounds", type=int, default=2, help="Rounds, all sides in each (default %(default)s).")
    parser.add_argument("--seconds", type=float, default=4, help="For each figure (default %(default)s).")
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


@contextmanager
def serving(side: Side, stores: Stores) -> Iterator[tuple[str, Rows, Tree]]:
    """Runs a contender's web process; yields its URL, a token and a job of each user, and its processes."""
    stores.empty_redis()
    port = free_port()
    env = {
        **os.environ,
        "DATABASE_URL": stores.create_database(f"api_{side.name}"),
        "REDIS_URL": stores.url_of_redis(),
        **side.env,
    }
    rows = _fill(side, env)
    command = [python_of(side.environment), *(part.format(port=port) for part in side.serve)]
    FOLDER.mkdir(parents=True, exist_ok=True)
    process = Process(side.name, command, log=FOLDER / f"api_{side.name}.log", env=env, cwd=ROOT)
    process.start()
    try:
        eventually(lambda: _answers(process, port), 60, f"{side.title} answering")
        stores.calm_down()
        yield f"http://127.0.0.1:{port}", rows, Tree(process.pid)
    finally:
        process.stop()


def _fill(side: Side, env: Mapping[str, str]) -> Rows:
    if side.environment == OURS:
        subprocess.run([*MANAGE, "migrate", "--noinput", "--verbosity", "0"], env=env, check=True)  # noqa: S603
        command = [*MANAGE, "shell", "--verbosity", "0", "--command", FILL]
    else:
        command = [python_of(side.environment), *side.fill]
    printed = subprocess.run(command, env=env, cwd=ROOT, check=True, stdout=subprocess.PIPE)  # noqa: S603
    rows: Rows = json.loads(printed.stdout)
    return rows


def _answers(process: Process, port: int) -> bool:
    process.check()
    try:
        return requests.get(f"http://127.0.0.1:{port}/api/v1/jobs/", timeout=5).status_code in (401, 403, 422)
    except (requests.ConnectionError, requests.Timeout):
        return False


def _measure(url: str, rows: Rows, tree: Tree, seconds: float) -> Iterator[tuple[str, int, Sample]]:
    """Yields the name of each call, the number of connections, and the sample."""
    etags = [_etag(f"{url}/api/v1/jobs/{row['job']}/", row["token"]) for row in rows]
    script = FOLDER / "requests.txt"
    for call in CALLS:
        script.write_text("\n".join(call.lines(rows, etags)) + "\n")
        _wrk(url, script, tree, 16, 1)
        for connections in CONNECTIONS:
            yield call.name, connections, _wrk(url, script, tree, connections, seconds)


def _etag(url: str, token: str) -> str:
    answer = requests.get(url, headers={"Authorization": f"Token {token}"}, timeout=60)
    answer.raise_for_status()
    return str(answer.headers["ETag"])


def _wrk(url: str, script: Path, tree: Tree, connections: int, seconds: float) -> Sample:
    wrk = shutil.which("wrk") or "wrk"
    options = ["-t", "1", "-c", str(connections), "-d", f"{seconds:g}s", "--timeout", "10s"]
    command = [wrk, *options, "-s", str(ROOT / "benchmarks" / "requests.lua"), url, "--", str(script)]
    used = tree.cpu_seconds()
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603
    used = tree.cpu_seconds() - used
    [result] = [line.split()[1:] for line in printed.splitlines() if line.startswith("RESULT")]
    count, duration, p50, p99, failed = map(float, result)
    return Sample(count / duration, p50, p99, used / max(count, 1) * 1e6, int(failed))


def _page(sides: Sequence[Side], facts: Mapping[str, str], samples: Samples, memory: Mapping[str, float]) -> Page:
    page = Page("The API beside its peers", "`python -m benchmarks.api` wrote this page.")
    page.facts(facts)
    page.text("![GET of one job, 64 connections](api.svg)")
    for call in CALLS:
        page.section(call.title)
        for connections in CONNECTIONS:
            page.text(f"{connections} connections:")
            page.table(HEADINGS, [_row(call, side, connections, samples) for side in sides])
        page.text(_verdict(call, samples))
    page.section("Memory")
    page.table(["", "MiB (PSS)"], [[side.title, f"{memory[side.name]:.0f}"] for side in sides])
    page.section("How it is measured")
    page.text(METHOD)
    return page


def _row(call: Call, side: Side, connections: int, samples: Samples) -> list[str]:
    found = samples[call.name, side.name, connections]
    rate, p50, p99, cpu = (median(getattr(sample, name) for sample in found) for name in ("rate", "p50", "p99", "cpu"))
    ratio = _ratio(call, side.name, connections, samples)
    failed = sum(sample.failed for sample in found)
    shown = [f"{rate:,.0f}", f"{ratio:.2f}", f"{p50:.1f}", f"{p99:.1f}", f"{cpu:,.0f}", str(failed)]
    return [side.title, *shown]


def _ratio(call: Call, side: str, connections: int, samples: Samples) -> float:
    """The rate as a multiple of FastAPI's; 0 if FastAPI is not in the run."""
    theirs = samples.get((call.name, "fastapi", connections))
    ours = samples[call.name, side, connections]
    return median(s.rate for s in ours) / median(s.rate for s in theirs) if theirs else 0


def _verdict(call: Call, samples: Samples) -> str:
    if (call.name, "legwork", 16) not in samples:
        return ""
    ratios = [_ratio(call, "legwork", connections, samples) for connections in CONNECTIONS]
    words = "met" if min(ratios) >= call.bar else "NOT MET"
    aim = "reached" if min(ratios) >= call.aim else "not reached"
    shown = " and ".join(f"{ratio:.1f}" for ratio in ratios)
    return f"Bar, {call.bar:g} times FastAPI's rate: {words}; aim, {call.aim:g} times: {aim} ({shown} times)."


def _write(folder: Path, page: Page, sides: Sequence[Side], samples: Samples) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "api.md").write_text(page.markdown())
    marks = []
    for side in sides:
        rate = median(sample.rate for sample in samples["get", side.name, 64])
        marks.append(Mark(side.title, rate, f"{rate:,.0f}/s", ours=side.name == "legwork"))
    (folder / "api.svg").write_text(bars("GET of one job, 64 connections, requests a second", marks))


if __name__ == "__main__":
    sys.exit(main())
