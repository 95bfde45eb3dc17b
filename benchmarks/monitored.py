"""`python -m benchmarks.monitored`: what does the task monitor cost the drain? Two workers, PostgreSQL.

The same no-ops are drained in alternating rounds, on two databases: one without the monitor's roll-ups, and one with
them and with two open dashboards, whose parts are requested as browsers do. The result is the median of the rounds'
ratios of rates, and of CPU (of the cluster, the server and the web process).
"""

import argparse
import math
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import requests
from rich.console import Console

from benchmarks import machine
from benchmarks.page import Page
from benchmarks.pressure import Case, Cluster, Sample
from benchmarks.stores import running_stores
from benchmarks.tree import Tree
from benchmarks.venvs import ROOT
from demo.processes import stop_on_signals
from demo.stack import Stack

RESULTS = ROOT / "benchmarks" / "results"
PLAIN = Case("plain", "without figures", env={"BENCH_WITHOUT_FIGURES": "1"})
MONITORED = Case("monitored", "with figures and two dashboards")
BAR = 0.97
PASSWORD = "correct horse battery staple"  # noqa: S105 of a database that is deleted
LIVE = {"/admin/?live=now": 2.0, "/admin/?live=charts&span=hour": 10.0}
"""The parts of a dashboard, and the seconds between two of their requests (monitor/static/monitor/live.js)."""
OPERATORS = ("ada", "grace")


class Dashboard:
    """An operator's open page: each part is asked for again and again, by a thread of its own, while is_open is set."""

    def __init__(self, url: str, operator: str, is_open: threading.Event) -> None:
        self.session, self.url, self.is_open = requests.Session(), url, is_open
        form = self.session.get(f"{url}/admin/login/", timeout=30).text
        found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', form)
        fields = {"username": operator, "password": PASSWORD, "csrfmiddlewaretoken": found[1] if found else ""}
        answer = self.session.post(f"{url}/admin/login/?next=/admin/", data=fields, timeout=30)
        answer.raise_for_status()
        self.asked = 0

    def keep(self, path: str, every: float, ended: threading.Event) -> None:
        while not ended.wait(every):
            if self.is_open.is_set():
                answer = self.session.get(self.url + path, timeout=30, allow_redirects=False)
                self.asked += answer.status_code == 200


@contextmanager
def dashboards(cluster: Cluster, folder: Path, is_open: threading.Event) -> Iterator[tuple[Stack, list[Dashboard]]]:
    """A web process on the cluster's database, and the operators' pages."""
    folder.mkdir(parents=True, exist_ok=True)
    stack = Stack(cluster.url, folder, clusters=0, env={"DJANGO_SETTINGS_MODULE": "benchmarks.settings"})
    for operator in OPERATORS:
        stack.add_user(operator, PASSWORD, staff=True)
    with stack:
        pages, ended = [Dashboard(stack.url, operator, is_open) for operator in OPERATORS], threading.Event()
        threads = [
            threading.Thread(target=page.keep, args=[path, every, ended])
            for page in pages
            for path, every in LIVE.items()
        ]
        for thread in threads:
            thread.start()
        try:
            yield stack, pages
        finally:
            ended.set()
            for thread in threads:
                thread.join()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    console, facts = Console(highlight=False, soft_wrap=True), machine.facts()
    facts["size"] = f"{options.jobs:,} jobs a round, {options.rounds} rounds"
    rounds: list[tuple[Sample, Sample]] = []
    with running_stores(redis=False) as stores, ExitStack() as stack:
        facts |= stores.versions()
        plain, monitored = Cluster(stores, PLAIN), Cluster(stores, MONITORED)
        for cluster in (plain, monitored):
            stack.enter_context(cluster.running)
            cluster.start()
        is_open = threading.Event()
        web, pages = stack.enter_context(dashboards(monitored, options.folder, is_open))
        for number in range(1, options.rounds + 1):
            found: dict[str, Sample] = {}
            # Alternating, because the second of two rounds may have an advantage.
            for cluster in (plain, monitored) if number % 2 else (monitored, plain):
                sample = found[cluster.case.name] = _drain(cluster, options.jobs, Tree(web.web.pid), is_open)
                console.print(f"round {number}, {cluster.case.title}: {_told(sample)}")
            rounds.append((found[PLAIN.name], found[MONITORED.name]))
        facts["answers to the dashboards"] = f"{sum(page.asked for page in pages):,}"
    write(options.results, rounds, facts)
    return 0


def _drain(cluster: Cluster, jobs: int, web: Tree, is_open: threading.Event) -> Sample:
    """The CPU of the web process is added to that of a job."""
    if cluster.case is PLAIN:
        return cluster.drain(jobs)
    is_open.set()
    used = web.cpu_seconds()
    sample = cluster.drain(jobs)
    is_open.clear()
    return Sample(sample.rate, sample.cpu + 1e6 * (web.cpu_seconds() - used) / jobs, sample.others)


def write(folder: Path, rounds: Sequence[tuple[Sample, Sample]], facts: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page = Page("What the task monitor costs the queue", "`python -m benchmarks.monitored` wrote this page.")
    page.facts(facts)
    rows = [
        [str(number), _told(one), _told(other), f"{other.rate / one.rate:.3f}", f"{_ratio(other.cpu, one.cpu):.3f}"]
        for number, (one, other) in enumerate(rounds, 1)
    ]
    page.table(["round", PLAIN.title, MONITORED.title, "ratio of rates", "ratio of CPU"], rows)
    rate = median(other.rate / one.rate for one, other in rounds)
    cpu = median(_ratio(other.cpu, one.cpu) for one, other in rounds)
    page.text(f"Bar, at least {BAR:.0%} of the rate: {'met' if rate >= BAR else 'not met'} ({rate:.1%}).")
    page.text(f"CPU a job: {cpu:.1%}.")
    page.section("How it is measured")
    page.text(" ".join((__doc__ or "").split("\n\n", 1)[1].split()))
    (folder / "monitored.md").write_text(page.markdown())


def _ratio(one: float, other: float) -> float:
    """NaN if the plain round used no CPU: few jobs may take less than a tick of the clock that counts it."""
    return one / other if other else math.nan


def _told(sample: Sample) -> str:
    return f"{sample.rate:,.0f}/s, {sample.cpu:.1f} µs of CPU a job"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitored", description=__doc__)
    parser.add_argument("--jobs", type=int, default=200_000, help="In each round (default %(default)s).")
    parser.add_argument("--rounds", type=int, default=6, help="Both cases in each (default %(default)s).")
    parser.add_argument("--folder", type=Path, default=ROOT / "var" / "bench" / "monitored", help="For logs.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    raise SystemExit(main())
