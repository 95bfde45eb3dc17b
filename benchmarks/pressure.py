"""`python -m benchmarks.pressure`: what progress, logs and a held snapshot cost the queue. Two workers, PostgreSQL."""

import argparse
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import psycopg2
from rich.console import Console

from benchmarks import machine
from benchmarks.chart import Mark, columns
from benchmarks.client import pauses
from benchmarks.measure import WARM_UP
from benchmarks.page import Page
from benchmarks.roster import CONTENDERS, LEGWORK
from benchmarks.runner import Running
from benchmarks.stores import Stores, running_stores
from benchmarks.summary import percentile
from benchmarks.tree import Tree, machine_cpu_seconds
from benchmarks.venvs import ROOT
from demo.processes import stop_on_signals

RESULTS = ROOT / "benchmarks" / "results"
METHOD = """\
Each case has a database and a cluster (2 workers) of its own on one private PostgreSQL (fsync and synchronous_commit
on, all else default), and rounds go over all cases in turn. In each round the jobs are enqueued, 500 in a call, while
the cluster is stopped with SIGSTOP; a checkpoint follows. The clock starts with SIGCONT and stops when all jobs have
succeeded. The client looks at the count rarely at first and often near the end, through the index of finished jobs:
read from the table, it would cost more with each dead row.

After these rounds idle workers get one job at a time, as in [queue.md](queue.md). Then a transaction with the isolation
level REPEATABLE READ is opened in the database of the plain no-ops and kept open, and rounds of plain no-ops follow.
Meanwhile VACUUM can remove nothing: each job leaves its dead rows. Before the transaction ends, idle workers again get
one job at a time. The last rounds are those after its end and a VACUUM.

CPU is user and system time of all processes of the cluster and of the server. **CPU of others** is the share of the
machine that other programs used: if it is above a few percent, rates mean little, and CPU is the better figure."""

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Case:
    """What is drained. kind, owner: of the jobs; with an empty owner they are the project's own. level: of the log.

    env: further environment variables. wanted: its required share of the rate of plain no-ops.
    """

    name: str
    title: str
    kind: str = "bench.noop"
    level: str = "WARNING"
    wanted: float = 0.0
    owner: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


FREE = Case("free", "plain no-ops, logs at WARNING")
CASES = (
    FREE,
    Case("progress", "each job reports progress once", kind="bench.progress", wanted=0.85),
    Case("logs", "logs at INFO", level="INFO", wanted=0.90),
)
IDLE_P99 = 10.0
"""Milliseconds that idle workers' p99 may have under the held snapshot."""
HELD = Case("held", "the last three rounds under a held snapshot", wanted=0.85)


@dataclass(frozen=True, slots=True)
class Sample:
    """Jobs per second; microseconds of CPU a job; the share of the machine that others used."""

    rate: float
    cpu: float
    others: float


@dataclass(frozen=True, slots=True)
class Measured:
    """Samples of each case's rounds by its name, of those under the held snapshot, and of those after its end.

    idle: latencies in ascending order (Cluster.latencies), free and at the end of the held snapshot.
    """

    cases: Mapping[str, Sequence[Sample]]
    held: Sequence[Sample]
    after: Sequence[Sample]
    idle: Mapping[str, Sequence[float]]

    @property
    def free(self) -> Sequence[Sample]:
        return self.cases[FREE.name]


class Cluster:
    """A cluster whose workers are stopped between two drains. url: a database that is filled; by default a new one."""

    def __init__(self, stores: Stores, case: Case, url: str = "") -> None:
        legwork = next(contender for contender in CONTENDERS if contender.name == LEGWORK)
        env = {**legwork.env, "LOG_LEVEL": case.level, **case.env}
        contender = replace(legwork, name=self.name_of(case), env=env)
        self.case = case
        self.stores = stores
        self.url = url or stores.create_database(contender.name)
        self._is_filled = bool(url)
        self.running = Running(contender, stores)

    @staticmethod
    def name_of(case: Case) -> str:
        """The name of its database and of its log."""
        return f"pressure-{case.name}"

    def start(self) -> None:
        if not self._is_filled:
            self.running.client.ask("prepare")
        self.running.start_workers()
        for _ in range(2):
            self.drain(WARM_UP)

    def drain(self, jobs: int) -> Sample:
        self.running.workers.stop()
        self.running.client.ask("call", "enqueue_kind", self.case.kind, jobs, self.case.owner)
        self.stores.calm_down()
        with psycopg2.connect(self.url) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("SET enable_seqscan = off")  # counting must not cost more with each dead row
            cursor.execute("SELECT clock_timestamp()")
            since = cursor.fetchone()

            def done() -> int:
                cursor.execute("SELECT count(*) FROM jobs_job WHERE finished_at >= %s", since)
                return int(cursor.fetchone()[0])

            ours, bench = (
                Tree(*self.running.workers.roots, *self.stores.tree().roots),
                Tree(os.getpid()),
            )
            ours_before, bench_before, machine_before = ours.cpu_seconds(), bench.cpu_seconds(), machine_cpu_seconds()
            began = time.monotonic()
            self.running.workers.resume()
            for pause in pauses(jobs, done):
                time.sleep(pause)
            took = time.monotonic() - began
        others = machine_cpu_seconds() - machine_before - (bench.cpu_seconds() - bench_before)
        self.running.workers.stop()
        cpu = ours.cpu_seconds() - ours_before
        return Sample(jobs / took, 1e6 * cpu / jobs, max(others, 0.0) / took / (os.cpu_count() or 1))

    def latencies(self, probes: int) -> list[float]:
        """Milliseconds from the call that enqueues a job to its first line, one job at a time on idle workers."""
        self.running.workers.resume()
        found: list[float] = self.running.client.ask("latencies", probes)
        self.running.workers.stop()
        return sorted(1000 * seconds for seconds in found)


@contextmanager
def held_snapshot(url: str) -> Iterator[None]:
    """While the body runs, a transaction elsewhere keeps every row version alive."""
    connection = psycopg2.connect(url)
    try:
        connection.set_session(isolation_level="REPEATABLE READ")
        connection.cursor().execute("SELECT 1")
        yield
    finally:
        connection.close()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    run = machine.facts() | {"begun": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
    run["size"] = f"{options.jobs:,} jobs a round, {options.rounds} rounds, {options.held} under a held snapshot"
    samples: dict[str, list[Sample]] = {case.name: [] for case in CASES}
    held: list[Sample] = []
    after: list[Sample] = []
    with running_stores(redis=False) as stores, ExitStack() as stack:
        run |= stores.versions()
        clusters = [Cluster(stores, case) for case in CASES if case.name in options.cases]
        for cluster in clusters:
            stack.enter_context(cluster.running)
            cluster.start()
        for number in range(1, options.rounds + 1):
            for cluster in clusters:
                samples[cluster.case.name] += [_told(f"round {number}, {cluster.case.title}", cluster, options.jobs)]
        free = clusters[0]
        idle = {"free": free.latencies(options.probes)}
        with held_snapshot(free.url):
            for number in range(1, options.held + 1):
                held += [_told(f"held snapshot, round {number}", free, options.jobs)]
            idle["held"] = free.latencies(options.probes)
        if options.held:
            stores.execute("VACUUM (ANALYZE) jobs_job", free.url.rpartition("/")[2])
            after = [_told("after its end and a VACUUM", free, options.jobs) for _ in range(options.rounds)]
    if len(clusters) == len(CASES) and held:
        _write(options.results, run, Measured(samples, held, after, idle), options.jobs)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pressure", description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("--jobs", type=int, default=20_000, help="Jobs in each round (default %(default)s).")
    parser.add_argument("--rounds", type=int, default=5, help="Rounds, all cases in each (default %(default)s).")
    parser.add_argument("--held", type=int, default=25, help="Rounds under a held snapshot (default %(default)s).")
    parser.add_argument("--probes", type=int, default=1000, help="Jobs on idle workers (default %(default)s).")
    parser.add_argument("--cases", nargs="+", choices=names, default=names, help="Without some nothing is written.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


def _told(what: str, cluster: Cluster, jobs: int) -> Sample:
    sample = cluster.drain(jobs)
    console.print(f"{what}: {sample.rate:,.0f}/s, {sample.cpu:.0f} µs of CPU a job, others {sample.others:.0%}")
    return sample


def _write(folder: Path, run: Mapping[str, str], measured: Measured, jobs: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page = Page("The queue under pressure", "`python -m benchmarks.pressure` wrote this page.")
    page.facts(run)
    page.text("![Jobs drained per second, by the jobs done under a held snapshot](pressure.svg)")
    page.table(["case", *HEADINGS], [[case.title, *_row(measured.cases[case.name])] for case in CASES])
    page.section("Under a held snapshot")
    steps = [[f"{number * jobs:,}", *_row([sample])] for number, sample in enumerate(measured.held, 1)]
    page.table(["jobs done under it", *HEADINGS], [*steps, ["after its end and a VACUUM", *_row(measured.after)]])
    page.section("Idle workers")
    page.table(["ms from enqueuing to a job's first line", "p50", "p99", "jobs"], _idle(measured.idle))
    page.section("Bars")
    page.table(["what", "wanted", "got", ""], _bars(measured))
    page.section("How it is measured")
    page.text(METHOD)
    (folder / "pressure.md").write_text(page.markdown())
    (folder / "pressure.svg").write_text(_chart(measured, jobs))


HEADINGS = ["drain/s, median", "worst to best round", "CPU µs a job", "CPU of others"]


def _row(samples: Sequence[Sample]) -> list[str]:
    rates = [sample.rate for sample in samples]
    return [
        f"{median(rates):,.0f}",
        f"{min(rates):,.0f} to {max(rates):,.0f}",
        f"{median(sample.cpu for sample in samples):.0f}",
        f"{median(sample.others for sample in samples):.0%}",
    ]


def _idle(idle: Mapping[str, Sequence[float]]) -> list[list[str]]:
    titles = {"free": "free", "held": "at the end of the held snapshot"}
    return [
        [titles[name], f"{percentile(found, 50):.1f}", f"{percentile(found, 99):.1f}", f"{len(found):,}"]
        for name, found in idle.items()
    ]


def _bars(measured: Measured) -> list[list[str]]:
    """Each round is compared with the plain no-ops of the same round, the last three held ones with all plain ones."""
    rows = []
    for case in CASES[1:]:
        rounds = zip(measured.cases[case.name], measured.free, strict=True)
        ratio = median(ours.rate / plain.rate for ours, plain in rounds)
        rows.append(_bar(f"{case.title}, of the plain rate", case.wanted, ratio))
    last = median(sample.rate for sample in measured.held[-3:])
    for title, beside in (("plain rate", measured.free), ("rate after its end and a VACUUM", measured.after)):
        ratio = last / median(sample.rate for sample in beside)
        rows.append(_bar(f"{HELD.title}, of the {title}", HELD.wanted, ratio))
    p99 = percentile(measured.idle["held"], 99)
    met = "met" if p99 <= IDLE_P99 else "**not met**"
    return [*rows, ["p99 of idle workers under it", f"≤ {IDLE_P99:.0f} ms", f"{p99:.1f} ms", met]]


def _bar(what: str, wanted: float, got: float) -> list[str]:
    return [what, f"≥ {wanted:.0%}", f"{got:.0%}", "met" if got >= wanted else "**not met**"]


def _chart(measured: Measured, jobs: int) -> str:
    held, step = measured.held, max(len(measured.held) // 8, 1)
    marks = [Mark("free", rate := median(sample.rate for sample in measured.free), f"{rate:,.0f}/s")]
    for number in range(step, len(held) + 1, step):
        rate = held[number - 1].rate
        marks.append(Mark(f"{number * jobs // 1000}k", rate, f"{rate:,.0f}/s", ours=True))
    marks.append(Mark("released", rate := median(sample.rate for sample in measured.after), f"{rate:,.0f}/s"))
    return columns("Jobs drained per second, by the jobs done under a held snapshot", marks)


if __name__ == "__main__":
    raise SystemExit(main())
