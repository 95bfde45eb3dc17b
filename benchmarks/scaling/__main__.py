"""`python -m benchmarks.scaling`: compare policies on days and bursts; writes benchmarks/results/scaling.md."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.chart import Mark, bars, lines
from benchmarks.page import Page
from benchmarks.scaling.load import LOADS, Load
from benchmarks.scaling.policies import POLICIES
from benchmarks.scaling.simulation import WORKERS, Machines, Outcome, simulate
from benchmarks.venvs import ROOT

RESULTS = ROOT / "benchmarks" / "results"
SHIPPED = ("age 10 s, idle workers in", "KEDA: age and running jobs")
"""What deploy/elastic_beanstalk and deploy/kubernetes set."""
HEADINGS = ["policy", "within 30 s", "p50, s", "p99, s", "longest, s", "machine hours", "handed back", "most machines"]
METHOD = f"""
Every job is simulated: it waits for the first worker that is free, and takes an exponentially distributed time. A
machine has {WORKERS} workers and needs {Machines().starts_in:.0f} s from its order to its first job; this is assumed,
as most of it depends on the cloud. There are at most {Machines().most} machines. Policies see the queue at the end of
each minute. A machine that is taken away may be any of them; jobs that would still run on it after `WORKER_GRACE` start
anew, and are counted under "handed back". Strong bars are the policies that `deploy/` sets.
"""
READING = """
- **Processor use** says nothing about jobs that wait for something else: it never adds a machine, and the queue
  grows. For jobs that compute it runs nearly twice the machines.
- **The number of waiting jobs** has no threshold that fits both jobs of a second and jobs of five minutes.
- **The age of the oldest due job** adds machines when they are needed, whatever the jobs are. Taking machines away
  because nothing waits is wrong: it goes on until jobs wait again.
- **Idle workers** say when there are too many machines. Adding by age and removing by idle workers costs about as much
  as age alone, with bursts a third of that, and by day nearly all jobs begin within 30 s.
- **A burst** of half a million jobs waits for machines to start, whatever the policy: reserve some, or let it wait.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    parser.add_argument("--minutes", type=int, help="Only so many of each load.")
    parser.add_argument("--share", type=float, default=1.0, help="Of the jobs.")
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    found: dict[Load, dict[str, Outcome]] = {}
    for load in LOADS:
        shorter = _shorter(load, options.minutes, options.share)
        found[load] = {}
        for name, policy in POLICIES.items():
            with console.status(f"{load.name}: {name} …"):
                found[load][name] = simulate(shorter, policy)
            console.print(f"{load.name}: {' · '.join(_row(name, found[load][name]))}")
    _write(options.results, found)
    return 0


def _shorter(load: Load, minutes: int | None, share: float) -> Load:
    return replace(load, minutes=minutes or load.minutes, jobs=lambda minute: load.jobs(minute) * share)


def _row(name: str, outcome: Outcome) -> list[str]:
    return [
        name,
        f"{outcome.within(30):.1%}",
        f"{outcome.percentile(0.5):,}",
        f"{outcome.percentile(0.99):,}",
        f"{outcome.percentile(1):,}",
        f"{outcome.machine_hours:,.0f}",
        f"{outcome.handed_back:,}",
        f"{max(outcome.machines)}",
    ]


def _write(folder: Path, found: Mapping[Load, Mapping[str, Outcome]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page = Page("Autoscaling, simulated", "`python -m benchmarks.scaling` wrote this page.")
    for load, outcomes in found.items():
        jobs = max(outcome.jobs for outcome in outcomes.values())  # a policy that falls behind does not begin all
        page.section(load.name.capitalize())
        page.text(f"{jobs:,} jobs of {load.seconds:g} s on average, {load.cpu:.0%} of it on a processor.")
        page.table(HEADINGS, [_row(name, outcome) for name, outcome in outcomes.items()])
        file = load.name.replace(" ", "-")
        page.text(f"![Machines over the day](scaling-{file}.svg)")
        page.text(f"![Within how many seconds 99 % of the jobs have begun](scaling-{file}-waits.svg)")
        (folder / f"scaling-{file}.svg").write_text(_day(load, outcomes))
        (folder / f"scaling-{file}-waits.svg").write_text(_waits(load, outcomes))
    page.section("How to read it")
    page.text(READING.strip())
    page.section("How it is simulated")
    page.text(METHOD.strip())
    (folder / "scaling.md").write_text(page.markdown())


def _day(load: Load, outcomes: Mapping[str, Outcome]) -> str:
    """A chart of the machines that the jobs would fill, and of those that Elastic Beanstalk's policy runs."""
    outcome = outcomes[SHIPPED[0]]
    most = max(outcome.machines)
    needed = [min(load.jobs(minute) * load.seconds / 60 / WORKERS, most) for minute in range(len(outcome.machines))]
    title = f"{load.name.capitalize()}: machines that run (strong) and that the jobs fill"
    return lines(title, [(needed, False), (outcome.machines, True)])


def _waits(load: Load, outcomes: Mapping[str, Outcome]) -> str:
    marks = [
        Mark(name, outcome.percentile(0.99), f"{outcome.percentile(0.99):,} s", name in SHIPPED)
        for name, outcome in outcomes.items()
    ]
    return bars(f"{load.name.capitalize()}: 99 % of the jobs have begun within", marks)


if __name__ == "__main__":
    raise SystemExit(main())
