"""`python -m benchmarks.interference`: how long the API's answers take while the queue drains, for each broker.

A web process (uvicorn), a cluster with two workers and a client that asks at fixed intervals share one database.
"""

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from rich.console import Console

from benchmarks import machine
from benchmarks.asker import Question, ask
from benchmarks.page import Page
from benchmarks.stores import Stores, running_stores
from benchmarks.summary import percentile
from benchmarks.tree import Tree
from benchmarks.venvs import ROOT
from demo.processes import stop_on_signals
from demo.stack import Stack

RESULTS = ROOT / "benchmarks" / "results"
BROKERS = {"postgresql": "PostgreSQL", "redis": "Redis"}
ENV = {"DJANGO_SETTINGS_MODULE": "benchmarks.settings", "WORKERS": "2", "IO_WORKERS": "0", "LOG_LEVEL": "WARNING"} | {
    "RATE_LIMIT_PER_MINUTE": "1000000000"
}
ORDER = '{"kind": "bench.noop", "params": {}}'
FIRST = """
from django.contrib.auth.models import User
from jobs.submit import submit
from project.models import Token
user = User.objects.create(username="ada")
print(Token.objects.create(user)[1], submit("bench.noop", user=user).pk)
"""
BACKLOG = """
from jobs.submit import submit_many
for _ in range({jobs} // 500):
    submit_many("bench.noop", [{{}}] * 500)
"""
HEADINGS = [
    "broker",
    "GET alone: p50, p99, ms",
    "while draining",
    "times",
    "POST alone: p50, p99, ms",
    "while draining",
    "times",
    "drained/s",
]
METHOD = """\
Each broker has a database, a web process (uvicorn) and a cluster with two workers of its own, on one private PostgreSQL
(fsync and synchronous_commit on, all else default). With either broker the jobs are rows in PostgreSQL; the broker only
wakes workers. A client sends GETs of one job over one kept connection, and POSTs of a no-op over another, at fixed
intervals. A request that a slow answer has delayed is timed from when it was due. First the cluster is idle; then it
drains a backlog that was made while it was stopped and that outlasts the client.

Web process, workers, client and PostgreSQL share the machine's cores: on two cores a part of each time is the wait for
a core, which a separate database for the queue would not shorten."""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds that each request took."""

    gets: Sequence[float]
    posts: Sequence[float]


@dataclass(frozen=True, slots=True)
class Measured:
    """alone: beside an idle cluster. rate: jobs per second that were drained meanwhile. left: jobs at the end."""

    alone: Times
    beside: Times
    rate: float
    left: int


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    console = Console(highlight=False, soft_wrap=True)
    size = (
        f"{options.gets:g} GETs and {options.posts:g} POSTs a second for {options.seconds:g} s, {options.jobs:,} jobs"
    )
    facts = machine.facts() | {"size": size}
    measured: dict[str, Measured] = {}
    with running_stores(redis="redis" in options.brokers) as stores:
        facts |= stores.versions()
        for broker in options.brokers:
            with _stack(broker, stores, options.folder) as stack:
                found = measured[broker] = _measure(stack, stores, options)
            console.print(*_row(broker, found), f"{found.left:,} jobs left", sep="  ")
    write(options.results, measured, facts)
    return 0 if all(found.left for found in measured.values()) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interference", description=__doc__)
    parser.add_argument("--brokers", nargs="+", choices=BROKERS, default=list(BROKERS), help=", ".join(BROKERS))
    parser.add_argument("--jobs", type=int, default=500_000, help="In the backlog (default %(default)s).")
    parser.add_argument("--seconds", type=float, default=12, help="For each measurement (default %(default)s).")
    parser.add_argument("--gets", type=float, default=40, help="A second (default %(default)s).")
    parser.add_argument("--posts", type=float, default=20, help="A second (default %(default)s).")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "bench" / "interference", help="For logs.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


@contextmanager
def _stack(broker: str, stores: Stores, folder: Path) -> Iterator[Stack]:
    folder.mkdir(parents=True, exist_ok=True)
    url = "orm://" if broker == "postgresql" else f"{stores.url_of_redis()}/0"
    stack = Stack(stores.create_database(f"interference-{broker}"), folder, env={**ENV, "BROKER_URL": url})
    stack.migrate()
    with stack:
        yield stack


def _measure(stack: Stack, stores: Stores, options: argparse.Namespace) -> Measured:
    token, job = stack.manage("shell", "--verbosity", "0", "--command", FIRST).split()
    cluster = Tree(stack.clusters[0].pid)
    cluster.wait_until_idle()
    _ask(stack, token, job, options, seconds=1)
    alone = _ask(stack, token, job, options, options.seconds)
    cluster.stop()
    stack.manage("shell", "--verbosity", "0", "--command", BACKLOG.format(jobs=options.jobs))
    stores.calm_down()
    with closing(psycopg2.connect(stack.env["DATABASE_URL"])) as connection:
        connection.autocommit = True
        before, began = _queued(connection), time.monotonic()
        cluster.resume()
        beside = _ask(stack, token, job, options, options.seconds)
        left, took = _queued(connection), time.monotonic() - began
    return Measured(alone, beside, (before + len(beside.posts) - left) / took, left)


def _ask(stack: Stack, token: str, job: str, options: argparse.Namespace, seconds: float) -> Times:
    get = Question("GET", f"/api/v1/jobs/{job}/", 200)
    post = Question("POST", "/api/v1/jobs/", 202, ORDER)
    with ThreadPoolExecutor(2) as threads:
        gets = threads.submit(ask, stack.url, token, get, options.gets, seconds)
        posts = threads.submit(ask, stack.url, token, post, options.posts, seconds)
        return Times(gets.result(), posts.result())


def _queued(connection: "psycopg2.extensions.connection") -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM jobs_job WHERE status = 'queued'")
        return int(cursor.fetchone()[0])


def write(folder: Path, measured: Mapping[str, Measured], facts: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page = Page("The API while the queue drains", "`python -m benchmarks.interference` wrote this page.")
    page.facts(facts)
    page.table(HEADINGS, [_row(broker, found) for broker, found in measured.items()])
    for broker, found in measured.items():
        if not found.left:
            page.text(f"**Means little:** with {BROKERS[broker]} the backlog was over before the end.")
    page.section("How it is measured")
    page.text(METHOD)
    (folder / "interference.md").write_text(page.markdown())


def _row(broker: str, found: Measured) -> list[str]:
    cells = [BROKERS[broker]]
    for alone, beside in ((found.alone.gets, found.beside.gets), (found.alone.posts, found.beside.posts)):
        cells += [_milliseconds(alone), _milliseconds(beside), _ratios(alone, beside)]
    return [*cells, f"{found.rate:,.0f}"]


def _milliseconds(times: Sequence[float]) -> str:
    return ", ".join(f"{percentile(times, percent) * 1000:.1f}" for percent in (50, 99))


def _ratios(alone: Sequence[float], beside: Sequence[float]) -> str:
    return ", ".join(f"{percentile(beside, percent) / percentile(alone, percent):.1f}" for percent in (50, 99))


if __name__ == "__main__":
    raise SystemExit(main())
