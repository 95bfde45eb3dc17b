"""`python -m benchmarks.streams`: what do thousands of open streams cost one web process?

Each stream watches a job of its own. The jobs are released bit by bit and run by a cluster, while ordinary clients read
single jobs: first without any stream, then with all of them open.
"""

import argparse
import asyncio
import json
import resource
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
from rich.console import Console

from benchmarks import machine
from benchmarks.page import Page
from benchmarks.summary import percentile
from benchmarks.tree import memory_of
from benchmarks.venvs import ROOT
from demo.client import FINAL
from demo.eventually import eventually
from demo.processes import stop_on_signals
from tests.support.servers.postgresql import PostgreSQL
from tests.support.stack import MAKE_TOKEN, Client, Stack

RESULTS = ROOT / "benchmarks" / "results"
LATER = {"kind": "demo.countdown", "params": {"seconds": 0}, "run_at": "2100-01-01T00:00:00Z"}
BATCH = 500
READERS = 4
READ_PAUSE = 0.02
"""Seconds between two requests of a reader, so that the web process is busy and not saturated."""
CONNECTING = 50
"""Streams that are opened at the same time."""
WITHIN = 180.0
RELEASE = """
    UPDATE jobs_job SET status = 'queued', run_at = now()
    WHERE id IN (SELECT id FROM jobs_job WHERE status = 'scheduled' ORDER BY id LIMIT %s)
"""
RELEASE_EVERY = 0.25
SETTLE = 3.0
"""Seconds between the opening of the last stream and the measuring of memory."""
KIB, LATENCY, SLOWER = 30.0, 20.0, 2.0
"""The bars: KiB for each stream; milliseconds to the watcher (p50); multiple of other requests' p99 without streams."""
METHOD = """\
One uvicorn process with WEB_THREADS=4, one cluster with two workers, PostgreSQL, the readers, and the program with the
client's end of all streams share the machine. Each stream watches one job. Jobs are no-ops; they are released
evenly over the time. **other requests** are GETs of single jobs by four clients in a process of their own, with a pause
of 20 ms. The time to the watcher runs from `finished_at` until the client has read the event. `finished_at` is when the
statement that ends the job began, so this is an upper bound of the time from the commit. Memory for each stream is the
growth of the web process's PSS from before the first stream to all of them open and idle, divided by their number."""


@dataclass
class Streams:
    """The client's end of many streams. final: seconds from a job's end until its final event was read, by job."""

    final: dict[str, float] = field(default_factory=dict)
    opened: int = 0
    events: int = 0
    twice: int = 0

    async def watch(self, url: str, token: str, jobs: Sequence[str]) -> None:
        gate = asyncio.Semaphore(CONNECTING)
        await asyncio.gather(*(self._follow(url, token, job, gate) for job in jobs))

    async def _follow(self, url: str, token: str, job: str, gate: asyncio.Semaphore) -> None:
        at = urlsplit(url)
        async with gate:
            reader, writer = await asyncio.open_connection(at.hostname, at.port, limit=2**14)
            request = (
                f"GET /api/v1/jobs/{job}/events/ HTTP/1.1\r\nHost: {at.netloc}\r\nAuthorization: Token {token}\r\n\r\n"
            )
            writer.write(request.encode())
            while not (await reader.readline()).startswith(b"data:"):
                pass
            self.opened += 1
        last = 0
        while line := await reader.readline():
            if line.startswith(b"id:"):
                number = int(line[3:])
                self.twice += number <= last
                last = number
            elif line.startswith(b"data:"):
                self.events += 1
                shown = json.loads(line[5:])
                if shown["status"] in FINAL:
                    self.final[job] = time.time() - datetime.fromisoformat(shown["finished_at"]).timestamp()
                    break
        writer.close()


class Readers:
    """Ordinary clients, in a process of their own: in that of the streams they would wait for the GIL.

    seconds: how long each of their requests took, known at the end.
    """

    def __init__(self, client: Client, path: str) -> None:
        self.seconds: list[float] = []
        spawn = get_context("spawn")
        self._stop, (self._result, theirs) = spawn.Event(), spawn.Pipe(duplex=False)
        self._process = spawn.Process(target=_read_on, args=(client.another(), path, self._stop, theirs))

    def __enter__(self) -> "Readers":
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self.seconds = self._result.recv()
        self._process.join()


def _read_on(client: Client, path: str, stop: Event, result: "Connection[list[float], None]") -> None:
    """Read until `stop` is set, then send how many seconds each request took."""
    seconds: list[float] = []

    def read(client: Client) -> None:
        while not stop.wait(READ_PAUSE):
            began = time.monotonic()
            client.get(path, expect=200)
            seconds.append(time.monotonic() - began)

    threads = [threading.Thread(target=read, args=(client.another(),)) for _ in range(READERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    result.send(seconds)


@dataclass(frozen=True, slots=True)
class Measured:
    """memory: KiB of the web process for each stream. without, beside: seconds of other requests."""

    jobs: int
    streams: Streams
    opening: float
    memory: float
    without: Sequence[float]
    beside: Sequence[float]

    @property
    def slower(self) -> float:
        return percentile(self.beside, 99) / percentile(self.without, 99)

    def rows(self) -> list[list[str]]:
        told = list(self.streams.final.values())
        return [
            ["final states that reached their watcher", f"{len(told):,} of {self.jobs:,}"],
            ["events, and those told twice", f"{self.streams.events:,}, {self.streams.twice}"],
            ["opening all streams", f"{self.opening:.1f} s"],
            ["memory for each stream", f"{self.memory:.1f} KiB"],
            ["from the end of a job to its watcher, p50, p99", _milliseconds(told)],
            ["other requests without streams, p50, p99", _milliseconds(self.without)],
            ["other requests beside them, p50, p99", _milliseconds(self.beside)],
        ]

    def bars(self) -> list[str]:
        latency = percentile(list(self.streams.final.values()), 50) * 1000
        told = f"{len(self.streams.final):,} of {self.jobs:,}"
        verdicts = [
            ("every watcher gets the final state, and nothing twice", self._all_told, told),
            (f"at most {KIB:g} KiB for each stream", self.memory <= KIB, f"{self.memory:.1f} KiB"),
            (f"p50 to the watcher at most {LATENCY:g} ms", latency <= LATENCY, f"{latency:.1f} ms"),
            (f"p99 of other requests below {SLOWER:g} times", self.slower < SLOWER, f"{self.slower:.2f} times"),
        ]
        return [f"Bar, {what}: {'met' if met else 'NOT met'} ({got})." for what, met, got in verdicts]

    @property
    def _all_told(self) -> bool:
        return len(self.streams.final) == self.jobs and not self.streams.twice


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    # This process has one end of each stream; the web process inherits the limit for the other ends.
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    console = Console(highlight=False)
    facts = machine.facts() | {"size": f"{options.streams:,} streams, jobs released over {options.seconds:g} s"}
    with PostgreSQL(durable=True) as server:
        env = {"WEB_THREADS": "4", "WORKERS": "2", "IO_WORKERS": "0", "LOG_LEVEL": "WARNING"}
        env |= {"RATE_LIMIT_PER_MINUTE": "10000000", "MAX_WATCHES": "100000"}
        env |= {"DJANGO_SETTINGS_MODULE": "settings.development"}
        options.folder.mkdir(parents=True, exist_ok=True)
        with Stack(server.create_database("streams"), options.folder, env=env) as stack:
            measured = _measure(stack, options.streams, options.seconds, console)
    for row in measured.rows():
        console.print(": ".join(row))
    for bar in measured.bars():
        console.print(bar)
    _write(options.results, facts, measured)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streams", description=__doc__)
    parser.add_argument("--streams", type=int, default=5000, help="Open at the same time (default %(default)s).")
    parser.add_argument("--seconds", type=float, default=20, help="In which the jobs are released (%(default)s).")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "bench" / "streams", help="Where logs are put.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


def _measure(stack: Stack, count: int, seconds: float, console: Console) -> Measured:
    client = stack.client()
    token = stack.run_code(MAKE_TOKEN.format(name="ada")).strip()
    jobs = _post(client, count)
    console.print("Without streams …")
    with Readers(client, f"jobs/{jobs[0]}/") as without:
        _release(stack, count, seconds)
        eventually(lambda: _finished(stack) == count, WITHIN, "the end of all jobs", pause=0.2)
    jobs = _post(client, count)
    empty = memory_of(stack.web.pid).pss
    streams, began = Streams(), time.monotonic()
    thread = threading.Thread(target=asyncio.run, args=(streams.watch(stack.url, token, jobs),), daemon=True)
    thread.start()
    eventually(lambda: streams.opened == count, WITHIN, "the opening of all streams")
    opening = time.monotonic() - began
    time.sleep(SETTLE)
    memory = (memory_of(stack.web.pid).pss - empty) * 1024 / count
    console.print(f"{count:,} streams are open.")
    with Readers(client, f"jobs/{jobs[0]}/") as beside:
        _release(stack, count, seconds)
        thread.join(WITHIN)
    return Measured(count, streams, opening, memory, without.seconds, beside.seconds)


def _post(client: Client, count: int) -> list[str]:
    """The ids of this many new jobs, which are not due yet."""
    sizes = [min(BATCH, count - start) for start in range(0, count, BATCH)]
    answers = [client.post("jobs/batch/", {"jobs": [LATER] * size}, expect=202).json() for size in sizes]
    return [each["id"] for answer in answers for each in answer["results"]]


def _release(stack: Stack, count: int, seconds: float) -> None:
    """Make the jobs due, evenly over so many seconds."""
    portion = max(1, round(count * RELEASE_EVERY / seconds))
    due = time.monotonic()
    with closing(psycopg2.connect(stack.env["DATABASE_URL"])) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for _ in range(0, count, portion):
                cursor.execute(RELEASE, [portion])
                due += RELEASE_EVERY
                time.sleep(max(0.0, due - time.monotonic()))


def _finished(stack: Stack) -> int:
    with closing(psycopg2.connect(stack.env["DATABASE_URL"])) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM jobs_job WHERE status = 'succeeded'")
        return int(cursor.fetchone()[0])


def _milliseconds(seconds: Sequence[float]) -> str:
    return f"{percentile(seconds, 50) * 1000:.1f} ms, {percentile(seconds, 99) * 1000:.1f} ms"


def _write(folder: Path, facts: Mapping[str, str], measured: Measured) -> None:
    page = Page("Thousands of streams", "`python -m benchmarks.streams` wrote this page.")
    page.facts(facts)
    page.table(["", "measured"], measured.rows())
    for bar in measured.bars():
        page.text(bar)
    page.section("How it is measured")
    page.text(METHOD)
    (folder / "streams.md").write_text(page.markdown())


if __name__ == "__main__":
    raise SystemExit(main())
