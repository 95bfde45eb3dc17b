"""`make bench`, `python -m benchmarks`: Legwork's queue and its peers in one run, on this machine."""

import argparse
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks import machine, report
from benchmarks.measure import Sample, measure
from benchmarks.roster import CONTENDERS, Contender, broker_url_is_understood
from benchmarks.runner import Running, installed
from benchmarks.stores import Stores, running_stores
from benchmarks.summary import bars, figures
from benchmarks.venvs import ROOT
from demo.eventually import TooLateError
from demo.processes import DiedError, stop_on_signals

RESULTS = ROOT / "benchmarks" / "results"
TROUBLE = (DiedError, TooLateError, OSError)
NO_REDIS = "Legwork on Redis: its settings do not understand `BROKER_URL=redis://…` yet."

console = Console(highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    chosen, missing = _chosen(options.peers)
    with console.status("The environments of the peers …"):
        chosen, without = installed(chosen)
        missing += without
    run = machine.facts() | {"begun": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
    run["size"] = f"{options.jobs:,} jobs, {options.rounds} rounds, {options.probes} latency probes"
    with running_stores(redis=any("Redis" in contender.store for contender in chosen)) as stores:
        run |= stores.versions()
        samples = _rounds(chosen, stores, options, missing)
    measured = {one.name: figures(one, samples[one.name]) for one in chosen if samples[one.name]}
    cleared = bars(measured)
    report.show(console, measured, cleared)
    report.write(options.results, measured, samples, cleared, run, missing)
    console.print(f"Written: {', '.join(sorted(path.name for path in options.results.glob('queue.*')))}")
    return 0 if all(samples.values()) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = [contender.name for contender in CONTENDERS]
    parser.add_argument("--jobs", type=int, default=10_000, help="Jobs in each round (default %(default)s).")
    parser.add_argument("--rounds", type=int, default=3, help="Rounds, all contenders in each (default %(default)s).")
    parser.add_argument(
        "--probes", type=int, default=200, help="Latency probes, over all rounds (default %(default)s)."
    )
    parser.add_argument("--peers", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


def _chosen(names: Sequence[str]) -> tuple[list[Contender], list[str]]:
    """The contenders that take part, and a sentence about each that cannot."""
    chosen = [contender for contender in CONTENDERS if contender.name in names]
    if "legwork-redis" in names and not broker_url_is_understood():
        return [contender for contender in chosen if contender.name != "legwork-redis"], [NO_REDIS]
    return chosen, []


def _rounds(
    chosen: Sequence[Contender], stores: Stores, options: argparse.Namespace, missing: list[str]
) -> dict[str, list[Sample]]:
    """All samples by name. Each round starts with another contender, so that the order favours none."""
    samples: dict[str, list[Sample]] = {contender.name: [] for contender in chosen}
    for contender in chosen:
        stores.create_database(contender.name)
    for number in range(options.rounds):
        shift = number * len(chosen) // options.rounds
        for contender in [*chosen[shift:], *chosen[:shift]]:
            sample = _sample(contender, stores, options, f"round {number + 1} of {options.rounds}", missing)
            samples[contender.name] += sample
    return samples


def _sample(
    contender: Contender, stores: Stores, options: argparse.Namespace, which: str, missing: list[str]
) -> list[Sample]:
    """One sample, or none if the contender fails: the others are still measured, and the exit status is 1."""
    try:
        with console.status(f"{which}: {contender.title} …"), Running(contender, stores) as running:
            sample = measure(running, stores, options.jobs, -(-options.probes // options.rounds))
    except TROUBLE as error:
        console.print(f"{which}: [red]{contender.title} failed[/]: ", end="")
        console.print(str(error), markup=False)
        missing.append(f"{contender.title}, {which}: it failed ({type(error).__name__}).")
        return []
    console.print(f"{which}: {contender.title}: {sample.drain:,.0f}/s drained, {sample.enqueue:,.0f}/s enqueued")
    return [sample]


if __name__ == "__main__":
    raise SystemExit(main())
