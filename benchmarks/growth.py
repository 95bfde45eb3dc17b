"""`python -m benchmarks.growth`: does the queue slow down as finished rows pile up in its table?

Legwork on PostgreSQL with two workers. There is a database for each number of finished rows; the number of queued jobs
is the same in all.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from benchmarks import machine
from benchmarks.chart import Mark, columns
from benchmarks.level import METHOD, Level
from benchmarks.page import Page
from benchmarks.stores import running_stores
from benchmarks.venvs import ROOT
from demo.processes import stop_on_signals

RESULTS = ROOT / "benchmarks" / "results"
FINISHED = [1_000, 100_000, 1_000_000, 10_000_000]
ALLOWED_LOSS = 0.20
HEADINGS = ["finished rows", "drain/s, median", "worst to best round", "of the first"]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    console = Console(highlight=False)
    rates: dict[int, list[float]] = {finished: [] for finished in options.finished}
    facts = machine.facts()
    with running_stores(redis=False) as stores:
        facts |= stores.versions()
        levels = [Level(stores, finished) for finished in options.finished]
        for level in levels:
            with console.status(f"{level.finished:,} finished rows are made …"):
                level.fill()
        for number in range(1, options.rounds + 1):
            for level in levels:
                with console.status(f"round {number} of {options.rounds}: {level.finished:,} finished rows …"):
                    rate = level.drain(options.queued, options.measured)
                rates[level.finished].append(rate)
                console.print(f"round {number}: {level.finished:,} finished rows: {rate:,.0f}/s")
    facts["size"] = f"the first {options.measured:,} of {options.queued:,} queued jobs, {options.rounds} rounds"
    _show(console, rates)
    _write(options.results, rates, facts)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--finished", type=int, nargs="+", default=FINISHED, help="Rows in the table (%(default)s).")
    parser.add_argument("--queued", type=int, default=100_000, help="Jobs in the queue (default %(default)s).")
    parser.add_argument("--measured", type=int, default=10_000, help="Of those, how many are timed (%(default)s).")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


def _show(console: Console, rates: Mapping[int, Sequence[float]]) -> None:
    shown = Table(*HEADINGS)
    for row in _rows(rates):
        shown.add_row(*row)
    console.print(shown)
    console.print(_verdict(rates))


def _write(folder: Path, rates: Mapping[int, Sequence[float]], facts: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page = Page("The queue as its table grows", "`python -m benchmarks.growth` wrote this page.")
    page.facts(facts)
    page.text("![Jobs drained per second, by the number of finished rows](growth.svg)")
    page.table(HEADINGS, _rows(rates))
    page.text(_verdict(rates))
    page.section("How it is measured")
    page.text(METHOD)
    (folder / "growth.md").write_text(page.markdown())
    (folder / "growth.svg").write_text(_chart(rates))


def _rows(rates: Mapping[int, Sequence[float]]) -> list[list[str]]:
    first = median(next(iter(rates.values())))
    return [
        [
            f"{finished:,}",
            f"{median(rounds):,.0f}",
            f"{min(rounds):,.0f} to {max(rounds):,.0f}",
            f"{median(rounds) / first:.2f}",
        ]
        for finished, rounds in rates.items()
    ]


def _verdict(rates: Mapping[int, Sequence[float]]) -> str:
    medians = [median(rounds) for rounds in rates.values()]
    loss = 1 - min(medians) / medians[0]
    met = "met" if loss <= ALLOWED_LOSS else "NOT MET"
    return f"Bar, at most {ALLOWED_LOSS:.0%} slower than with the fewest finished rows: {met} ({loss:.0%} at worst)."


def _chart(rates: Mapping[int, Sequence[float]]) -> str:
    marks = [
        Mark(f"{finished:,}", median(rounds), f"{median(rounds):,.0f}/s", ours=True)
        for finished, rounds in rates.items()
    ]
    return columns("Jobs drained per second, by the number of finished rows in the table", marks)


if __name__ == "__main__":
    raise SystemExit(main())
