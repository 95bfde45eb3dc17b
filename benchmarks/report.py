"""The result of the queue benchmark, on the terminal and as results/queue.md with its chart and raw numbers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.chart import Mark, bars
from benchmarks.measure import METHOD, Sample
from benchmarks.page import Page
from benchmarks.roster import LEGWORK
from benchmarks.summary import Bar, Figures
from benchmarks.venvs import versions

HEADINGS = [
    "queue",
    "enqueue/s",
    "bulk/s",
    "drain/s",
    "drain, of Legwork's",
    "idle p50, ms",
    "idle p99, ms",
    "PSS, MiB",
    "workers' CPU s/1,000",
    "servers' CPU s/1,000",
    "WAL bytes/job",
]
PROMISES = [
    "queue",
    "drain/s, worst to best round",
    "store",
    "on disk when enqueued",
    "what is stored of a finished job",
    "a job whose worker is killed",
    "USS, MiB",
    "CPU of others",
]

NARROWEST = 160
"""Characters that the table needs, also where the output is not a terminal."""

HOW_TO_READ = """\
- **drain/s** is the throughput of two worker processes that find all jobs waiting; the range over the rounds is in the
  second table. **drain, of Legwork's** is that rate divided by Legwork's on PostgreSQL in the same run.
- **enqueue/s** is one process that calls the peer's Python API once a job; **bulk/s** uses the peer's bulk call. On
  PostgreSQL each single call is a transaction that is on the disk when it returns; Redis keeps it in memory only.
- **idle p50, p99**: from the call of the enqueue function to the first line of the job, on idle workers.
- **PSS** is the memory of all worker processes, shared pages counted once; **CPU** is user and system time per 1,000
  jobs while draining, of the worker processes and of PostgreSQL and Redis together. **WAL** is what PostgreSQL
  wrote to its write-ahead log meanwhile.
- The second table says what else differs: a queue that may lose jobs does less work for each. **CPU of others** is the
  share of the machine that other programs used while this queue drained; near zero is a clean run."""

LIMITS = """\
- No-ops on one machine: what is compared is the cost of the queue itself. With real work the differences shrink.
- Clients, workers and servers share the same cores; a larger server would help the queues that leave much work to it.
- Shared machines are noisy. Contenders are interleaved and medians shown; differences below 15 % mean little, and where
  the CPU of others is above a few percent the row means little.
- Redis writes nothing to the disk here, PostgreSQL everything (fsync, synchronous_commit on; all else default).
- All logs are at WARNING. While they are stopped, peers that LISTEN collect notifications, and a peer that blocks on
  Redis is already sent its first job.
- Peers that store no results are counted by what they store instead, and left out of the bar for peers with results."""


def table(measured: Mapping[str, Figures]) -> Table:
    shown = Table()
    shown.add_column(HEADINGS[0], no_wrap=True)
    for heading in HEADINGS[1:]:
        shown.add_column(heading, justify="right", min_width=8)
    for row in _rows(measured):
        shown.add_row(*row, style="bold" if row[0].startswith("Legwork") else "")
    return shown


def show(console: Console, measured: Mapping[str, Figures], cleared: Sequence[Bar]) -> None:
    console.print(table(measured), width=max(console.width, NARROWEST))
    for bar in cleared:
        console.print(f"{_verdict(bar):>12}  {bar.what}: {bar.got or 'not measured'} (wanted {bar.wanted})")


def write(
    folder: Path,
    measured: Mapping[str, Figures],
    samples: Mapping[str, Sequence[Sample]],
    cleared: Sequence[Bar],
    run: Mapping[str, str],
    missing: Sequence[str],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "queue.svg").write_text(_chart(measured))
    raw = {name: [asdict(sample) for sample in rounds] for name, rounds in samples.items()}
    (folder / "queue.json").write_text(json.dumps({"run": dict(run), "samples": raw}, indent=1) + "\n")
    (folder / "queue.md").write_text(_page(measured, cleared, run, missing))


def _page(
    measured: Mapping[str, Figures], cleared: Sequence[Bar], run: Mapping[str, str], missing: Sequence[str]
) -> str:
    page = Page("Queues beside each other", "`make bench` wrote this page; the raw samples are in queue.json.")
    page.facts(run)
    for sentence in missing:
        page.text(f"**Not in this run:** {sentence}")
    page.text("![Jobs drained per second](queue.svg)")
    page.table(HEADINGS, _rows(measured))
    page.table(PROMISES, _more(measured))
    page.section("Bars")
    page.table(
        ["what", "wanted", "got", ""], [[bar.what, bar.wanted, bar.got or "-", _verdict(bar)] for bar in cleared]
    )
    page.section("How to read it")
    page.text(HOW_TO_READ)
    page.section("How it is measured")
    page.text(METHOD)
    page.section("How each is set up")
    for figures in measured.values():
        page.text(_set_up(figures))
    page.section("Limits")
    page.text(LIMITS)
    return page.markdown()


def _rows(measured: Mapping[str, Figures]) -> list[list[str]]:
    ours = measured.get(LEGWORK)
    return [
        [
            one.contender.title,
            f"{one.enqueue:,.0f}",
            "-" if one.bulk is None else f"{one.bulk:,.0f}",
            f"{one.drain:,.0f}",
            f"{one.drain / ours.drain:.2f}" if ours else "-",
            f"{one.p50:.1f}",
            f"{one.p99:.1f}",
            f"{one.pss:.0f}",
            f"{one.worker_cpu:.2f}",
            f"{one.server_cpu:.2f}",
            f"{one.wal:,.0f}" if "PostgreSQL" in one.contender.store else "-",
        ]
        for one in measured.values()
    ]


def _more(measured: Mapping[str, Figures]) -> list[list[str]]:
    return [
        [
            one.contender.title,
            " to ".join(f"{rate:,.0f}" for rate in one.drain_range),
            one.contender.store,
            "yes" if one.contender.durable else "no",
            one.contender.stored,
            one.contender.kept,
            f"{one.uss:.0f}",
            f"{one.noise:.0%}",
        ]
        for one in measured.values()
    ]


def _set_up(figures: Figures) -> str:
    contender = figures.contender
    pins = versions(contender.module)
    name = contender.module.replace("_", "-")
    drivers = ["redis", "hiredis", "asyncpg", "psycopg", "psycopg2-binary"]
    shown = dict.fromkeys(["django", "django-q2", name, *drivers])
    used = ", ".join(f"{name} {pins[name]}" for name in shown if name in pins)
    return f"**{contender.title}** ({used}). {contender.settings}\nWorkers: `{contender.shown_command}`"


def _chart(measured: Mapping[str, Figures]) -> str:
    marks = [
        Mark(one.contender.title, one.drain, f"{one.drain:,.0f}/s", ours=name.startswith("legwork"))
        for name, one in measured.items()
    ]
    return bars("No-op jobs with stored results, drained by two worker processes", marks)


def _verdict(bar: Bar) -> str:
    return {True: "met", False: "NOT MET", None: "not measured"}[bar.met]
