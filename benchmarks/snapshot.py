"""`python -m benchmarks.snapshot`: Legwork's queue and its peers on PostgreSQL while a transaction holds a snapshot."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks import machine
from benchmarks.chart import Mark, bars
from benchmarks.measure import drain, warm_up
from benchmarks.page import Page
from benchmarks.pressure import held_snapshot
from benchmarks.roster import CONTENDERS, Contender
from benchmarks.runner import Running, installed
from benchmarks.stores import Stores, running_stores
from benchmarks.venvs import ROOT
from demo.eventually import TooLateError
from demo.processes import DiedError, stop_on_signals

RESULTS = ROOT / "benchmarks" / "results"
TROUBLE = (DiedError, TooLateError, OSError)
WARM_UP = 200
TOGETHER = 500
"""Jobs in a call, for peers that have a bulk call."""

METHOD = """\
One queue after the other, each in a database of its own on one private PostgreSQL (fsync and synchronous_commit on, all
else default), with two worker processes, set up as in [queue.md](queue.md). In each round the workers, stopped with
SIGSTOP, get their jobs (500 in a call, or one at a time where the peer has no such call); a checkpoint follows; SIGCONT
starts the clock, and it stops when all are stored as finished. The first round is free. Then a transaction with the
isolation level REPEATABLE READ reads once in the same database and stays open: nothing that dies after it can be
vacuumed, and each further round leaves its dead rows to the next ones.

A peer that stores less of a finished job also leaves less behind: [queue.md](queue.md) says what each stores. **CPU of
others** is the share of the machine that went to programs outside of the bench, the highest of a row's rounds: above a
few percent, a row means little."""

console = Console(highlight=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Rates:
    """Jobs per second: free, and of each round under the snapshot. noise: the highest share that others took."""

    contender: Contender
    free: float
    held: list[float]
    noise: float

    @property
    def kept(self) -> float:
        """The last round, of the first one under the snapshot."""
        return self.held[-1] / self.held[0]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    chosen, missing = installed([one for one in _contenders() if one.name in options.peers])
    run = machine.facts() | {"begun": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
    run["size"] = f"{options.jobs:,} jobs a round, one free and {options.rounds} under the snapshot"
    measured: list[Rates] = []
    with running_stores(redis=False) as stores:
        run |= stores.versions()
        for contender in chosen:
            stores.create_database(contender.name)
            try:
                measured.append(_measure(contender, stores, options.jobs, options.rounds))
            except TROUBLE as error:
                console.print(f"[red]{contender.title} failed[/]: ", end="")
                console.print(str(error), markup=False)
                missing.append(f"{contender.title}: it failed ({type(error).__name__}).")
            # After each of them, so that an interruption loses no other one's figures.
            behind = chosen[chosen.index(contender) + 1 :]
            write(options.results, measured, run, [*missing, *(f"{one.title}: not measured." for one in behind)])
    return 0 if len(measured) == len(chosen) else 1


def _contenders() -> list[Contender]:
    return [contender for contender in CONTENDERS if contender.store == "PostgreSQL"]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.snapshot", description=__doc__)
    names = [contender.name for contender in _contenders()]
    parser.add_argument("--jobs", type=int, default=20_000, help="Jobs in each round (default %(default)s).")
    parser.add_argument("--rounds", type=int, default=5, help="Rounds under the snapshot (default %(default)s).")
    parser.add_argument("--peers", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


def _measure(contender: Contender, stores: Stores, jobs: int, rounds: int) -> Rates:
    with Running(contender, stores) as running:
        running.client.ask("prepare")
        running.start_workers()
        warm_up(running, min(WARM_UP, jobs))
        free, noise = _round(running, stores, jobs)
        with held_snapshot(stores.url_of_database(contender.name)):
            held = [_round(running, stores, jobs) for _ in range(rounds)]
    return Rates(contender, free, [rate for rate, _ in held], max(noise, *(noise for _, noise in held)))


def _round(running: Running, stores: Stores, jobs: int) -> tuple[float, float]:
    """Jobs per second, and the share of the machine that others took."""
    ask = running.client.ask
    running.workers.stop()
    goal = ask("stored") + jobs
    if ask("can_enqueue_many"):
        for begin in range(0, jobs, TOGETHER):
            ask("enqueue_many", min(TOGETHER, jobs - begin))
    else:
        ask("enqueue", jobs)
    stores.calm_down()
    drained = drain(running, stores, goal)
    console.print(f"{running.contender.title}: {jobs / drained.seconds:,.0f}/s, others {drained.noise:.0%}")
    return jobs / drained.seconds, drained.noise


def write(folder: Path, measured: Sequence[Rates], run: Mapping[str, str], missing: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page = Page("Queues under a held snapshot", "`python -m benchmarks.snapshot` wrote this page.")
    page.facts(run)
    for sentence in missing:
        page.text(f"**Not in this run:** {sentence}")
    page.text("![Jobs drained per second in the last round under a held snapshot](snapshot.svg)")
    rounds = [f"round {number + 1}" for number in range(max((len(one.held) for one in measured), default=0))]
    headings = ["queue, jobs/s", "free", *rounds, "last, of the first", "last, of the free one", "CPU of others"]
    page.table(headings, [_row(one) for one in measured])
    page.section("How it is measured")
    page.text(METHOD)
    (folder / "snapshot.md").write_text(page.markdown())
    (folder / "snapshot.svg").write_text(_chart(measured))


def _row(one: Rates) -> list[str]:
    rates = [f"{rate:,.0f}" for rate in (one.free, *one.held)]
    return [one.contender.title, *rates, f"{one.kept:.0%}", f"{one.held[-1] / one.free:.0%}", f"{one.noise:.0%}"]


def _chart(measured: Sequence[Rates]) -> str:
    marks = [
        Mark(
            one.contender.title,
            one.held[-1],
            f"{one.held[-1]:,.0f}/s, {one.kept:.0%}",
            ours=one.contender.name.startswith("legwork"),
        )
        for one in measured
    ]
    return bars("The last round under a held snapshot, and what it is of the first", marks)


if __name__ == "__main__":
    raise SystemExit(main())
