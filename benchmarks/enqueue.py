"""`python -m benchmarks.enqueue`: enqueueing one job at a time, beside a bare INSERT and stock django-q2, in turns."""

import argparse
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

from rich.console import Console

from benchmarks import machine
from benchmarks.page import Page
from benchmarks.roster import CONTENDERS, LEGWORK
from benchmarks.runner import Running
from benchmarks.stores import Stores, running_stores
from benchmarks.venvs import ROOT
from demo.processes import stop_on_signals

RESULTS = ROOT / "benchmarks" / "results"
METHOD = """\
Each client is one process with one thread, on a database of its own on one private PostgreSQL (fsync and
synchronous_commit on, all else default). They take turns of a few hundred jobs, and no workers run. Each ratio is the
median over all turns of the client's rate divided by that of Legwork on PostgreSQL in the same turn.

The **bare INSERT** is the limit for a job that is a committed row: a loop that executes one prepared statement, which
inserts the same row into the same table, with a new id each time and a commit after each."""

BARE = "bare prepared INSERT"
REDIS, STOCK = "legwork-redis", "django-q2-orm"
Rates = dict[str, list[float]]
"""Jobs per second in each turn, by the name of the client."""

console = Console(highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    run = machine.facts() | {"begun": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
    run["size"] = f"{options.turns} turns of {options.jobs} jobs"
    with running_stores() as stores, ExitStack() as stack:
        run |= stores.versions()
        clients = _clients(stores, stack, [LEGWORK, *options.beside])
        rates: Rates = {name: [] for name in clients}
        for _ in range(options.turns):
            for name, seconds in clients.items():
                rates[name].append(options.jobs / seconds(options.jobs))
    _write(options.results, run, rates)
    for row in _rows(rates):
        console.print("  ".join(row))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.enqueue", description=__doc__)
    parser.add_argument("--turns", type=int, default=40, help="Of each client (default %(default)s).")
    parser.add_argument("--jobs", type=int, default=250, help="In each turn (default %(default)s).")
    beside = [REDIS, STOCK]
    parser.add_argument("--beside", nargs="*", choices=beside, default=beside, help="Default: %(default)s.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


def _clients(stores: Stores, stack: ExitStack, names: Sequence[str]) -> dict[str, Callable[[int], float]]:
    """By name, a function that enqueues so many jobs and returns how many seconds it took."""
    asks = {}
    for contender in CONTENDERS:
        if contender.name in names:
            stores.create_database(contender.name)
            asks[contender.name] = stack.enter_context(Running(contender, stores)).client.ask
            asks[contender.name]("prepare")
    found: dict[str, Callable[[int], float]] = {name: partial(ask, "enqueue") for name, ask in asks.items()}
    found[BARE] = partial(asks[LEGWORK], "call", "insert_bare")
    for seconds in found.values():
        seconds(100)
    return found


def _write(folder: Path, run: dict[str, str], rates: Rates) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page = Page("Enqueueing one job at a time", "`python -m benchmarks.enqueue` wrote this page.")
    page.facts(run)
    page.table(["client", "jobs/s, median", "worst to best turn", "of Legwork's"], _rows(rates))
    page.section("Bars")
    page.table(["what", "wanted", "got", ""], _bars(rates))
    page.section("How it is measured")
    page.text(METHOD)
    (folder / "enqueue.md").write_text(page.markdown())


def _rows(rates: Rates) -> list[list[str]]:
    titles = {contender.name: contender.title for contender in CONTENDERS}
    return [
        [
            titles.get(name, name),
            f"{median(found):,.0f}",
            f"{min(found):,.0f} to {max(found):,.0f}",
            f"{_ratio(rates, name, LEGWORK):.2f}",
        ]
        for name, found in rates.items()
    ]


def _bars(rates: Rates) -> list[list[str]]:
    bars = (
        ("Legwork on PostgreSQL, of stock django-q2's ORM broker", 1.5, LEGWORK, STOCK),
        ("Legwork on PostgreSQL, of a bare INSERT", 0.7, LEGWORK, BARE),
        ("Legwork on Redis, of that on PostgreSQL", 0.95, REDIS, LEGWORK),
    )
    return [
        [what, f"≥ {wanted:g}", f"{got:.2f}", "met" if got >= wanted else "**not met**"]
        for what, wanted, name, of in bars
        if {name, of} <= rates.keys()
        for got in [_ratio(rates, name, of)]
    ]


def _ratio(rates: Rates, name: str, of: str) -> float:
    return median(rate / other for rate, other in zip(rates[name], rates[of], strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
