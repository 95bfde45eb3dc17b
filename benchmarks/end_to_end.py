"""`python -m benchmarks.end_to_end`: from the first POST of many jobs until the last of them has succeeded.

The contenders are those of benchmarks.api, with workers. The job does nothing; its end is written to the database.
"""

import argparse
import asyncio
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import psycopg2
from rich.console import Console

from benchmarks import machine
from benchmarks.api import DJANGO, FOLDER, OUR_SETTINGS, RESULTS, SIDES, USERS, Side, serving
from benchmarks.page import Page
from benchmarks.stores import Stores, running_stores
from benchmarks.venvs import OURS, ROOT, python_of
from demo.eventually import eventually
from demo.processes import Process, stop_on_signals
from demo.stack import MANAGE

JOBS, WORKERS, ROUNDS = 2000, 2, 3
CLIENTS = USERS
WITHIN = 300.0
BAR = 2.0
"""Required multiple of the best peer's rate."""
BODY = b'{"kind":"demo.countdown","params":{"seconds":0}}'
CELERY = ("-m", "celery", "-A", "benchmarks.peers.api_worker", "worker", "--concurrency", str(WORKERS), "-l", "error")
METHOD = f"""\
{CLIENTS} clients post the jobs, which do nothing; each has a connection and a token of its own, and posts its next job
when the last one is answered. The time runs from the first POST until the database shows that all have succeeded. Each
side has one web process, as in [the API beside its peers](api.md), and {WORKERS} processes that execute jobs.
PostgreSQL is durable. A peer's task writes nothing but the job's end, in one UPDATE. Celery acknowledges early, as
it does by default: a worker that is killed loses jobs. Legwork writes start and end under a lease. Some jobs are
run before, so that all processes are warm. Figures are medians of the rounds."""


@dataclass(frozen=True)
class Worker:
    """What runs a side's jobs. environment: the name of its virtual environment. table: where the jobs are."""

    environment: str
    command: tuple[str, ...]
    table: str
    env: Mapping[str, str] = field(default_factory=dict)


OUR_WORKERS = {"WORKERS": str(WORKERS), "IO_WORKERS": "0"}
WORKER_OF = {
    "legwork": Worker(OURS, (MANAGE[1], "qcluster"), "jobs_job", OUR_SETTINGS | OUR_WORKERS),
    "fastapi": Worker("api_django", CELERY, "jobs"),
    "drf": Worker("api_django", CELERY, "api_django_job"),
    "django_q2": Worker(
        "api_django",
        ("-m", "django", "qcluster"),
        "api_django_job",
        {"BENCH_QUEUE": "django_q", "DJANGO_SETTINGS_MODULE": f"{DJANGO}.settings"},
    ),
}


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds until the last job was accepted, and until it had succeeded."""

    accepted: float
    succeeded: float


Samples = dict[str, list[Sample]]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    console = Console(highlight=False, soft_wrap=True)
    sides = [side for side in SIDES if side.name in options.sides]
    for side in sides:
        python_of(side.environment), python_of(WORKER_OF[side.name].environment)
    facts = machine.facts() | {"size": f"{options.rounds} rounds of {options.jobs:,} jobs"}
    samples: Samples = {}
    with running_stores() as stores:
        facts |= stores.versions()
        for number in range(options.rounds):
            for side in sides if number % 2 == 0 else reversed(sides):
                with _running(side, stores) as (url, tokens, database):
                    table = WORKER_OF[side.name].table
                    _run(url, tokens, database, table, CLIENTS * WORKERS)
                    stores.calm_down()
                    sample = _run(url, tokens, database, table, options.jobs)
                samples.setdefault(side.name, []).append(sample)
                console.print(f"round {number + 1} of {options.rounds}: {side.title}: {sample.succeeded:.2f} s")
    page = _page(sides, facts, samples, options.jobs)
    console.print(page.markdown(), markup=False)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "end_to_end.md").write_text(page.markdown())
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.end_to_end", description=__doc__)
    names = [side.name for side in SIDES]
    parser.add_argument("--sides", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--jobs", type=int, default=JOBS, help="In each round (default %(default)s).")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="Rounds, all sides in each (default %(default)s).")
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


@contextmanager
def _running(side: Side, stores: Stores) -> Iterator[tuple[str, Sequence[str], str]]:
    """Runs a side's web process and workers; yields its URL, its users' tokens and the URL of its database."""
    worker = WORKER_OF[side.name]
    with serving(side, stores) as (url, rows, _):
        database = stores.url_of_database(f"api_{side.name}")
        # The jobs that the database was filled with are in no queue.
        _ask(database, f"DELETE FROM {worker.table} RETURNING 1")  # noqa: S608
        env = {"DATABASE_URL": database, "REDIS_URL": stores.url_of_redis(), "BENCH_TABLE": worker.table}
        process = Process(
            f"{side.name}'s worker",
            [python_of(worker.environment), *worker.command],
            log=FOLDER / f"end_to_end_{side.name}.log",
            env={**os.environ, **env, **worker.env},
            cwd=ROOT,
        )
        process.start()
        try:
            yield url, [row["token"] for row in rows], database
        finally:
            process.stop()


def _run(url: str, tokens: Sequence[str], database: str, table: str, jobs: int) -> Sample:
    before = _succeeded(database, table)
    with get_context("spawn").Pool(1) as poster:
        took = poster.apply_async(_post, (url, tokens, jobs))
        eventually(lambda: _succeeded(database, table) >= before + jobs, WITHIN, f"the success of {jobs} jobs")
        ended = time.monotonic()
        started, accepted = took.get()
    return Sample(accepted - started, ended - started)


def _post(url: str, tokens: Sequence[str], jobs: int) -> tuple[float, float]:
    """Runs in a process of its own. Returns when the first job was posted, and when the last one was accepted."""
    return asyncio.run(_post_all(url, tokens, jobs))


async def _post_all(url: str, tokens: Sequence[str], jobs: int) -> tuple[float, float]:
    numbers = iter(range(jobs))
    connections = [await asyncio.open_connection(urlsplit(url).hostname, urlsplit(url).port) for _ in tokens]
    started = time.monotonic()
    await asyncio.gather(
        *(_post_on(reader, writer, token, numbers) for (reader, writer), token in zip(connections, tokens, strict=True))
    )
    return started, time.monotonic()


async def _post_on(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str, numbers: Iterator[int]
) -> None:
    """Post jobs on this connection until none is left."""
    head = f"POST /api/v1/jobs/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {token}\r\n"
    request = head.encode() + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
    for _ in numbers:
        writer.write(request)
        answer = await reader.readuntil(b"\r\n\r\n")
        if not answer.startswith(b"HTTP/1.1 202"):
            raise RuntimeError(answer.decode())
        [length] = [line.split()[1] for line in answer.lower().splitlines() if line.startswith(b"content-length")]
        await reader.readexactly(int(length))
    writer.close()


def _succeeded(database: str, table: str) -> int:
    return int(_ask(database, f"SELECT count(*) FROM {table} WHERE status = 'succeeded'"))  # noqa: S608


def _ask(database: str, statement: str) -> int:
    with closing(psycopg2.connect(database)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            [number] = cursor.fetchone() or [0]
            return int(number)


def _page(sides: Sequence[Side], facts: Mapping[str, str], samples: Samples, jobs: int) -> Page:
    page = Page("From POST to success, beside the peers", "`python -m benchmarks.end_to_end` wrote this page.")
    page.facts(facts)
    seconds = {name: median(sample.succeeded for sample in found) for name, found in samples.items()}
    best = min((seconds[name] for name in seconds if name != "legwork"), default=0.0)
    rows = []
    for side in sides:
        accepted = median(sample.accepted for sample in samples[side.name])
        took = seconds[side.name]
        rows.append([side.title, f"{accepted:.2f} s", f"{took:.2f} s", f"{jobs / took:,.0f}", f"{best / took:.2f}"])
    page.table(["", "all accepted", "all succeeded", "jobs/s", "times the best peer's rate"], rows)
    if best and "legwork" in seconds:
        ratio = best / seconds["legwork"]
        page.text(
            f"Bar, {BAR:g} times the rate of the best peer: {'met' if ratio >= BAR else 'NOT met'} ({ratio:.1f})."
        )
    page.section("How it is measured")
    page.text(METHOD)
    return page


if __name__ == "__main__":
    raise SystemExit(main())
