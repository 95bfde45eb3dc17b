"""`python -m benchmarks.long_beside_short`: do short jobs wait behind long ones?

Two clusters with two workers each. First one worker of each is busy with a long job, and 500 short ones are enqueued.
Then a harder case: the long jobs are queued among the short ones and are of the same kind, so that no worker can tell
them apart.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import psycopg2
from rich.console import Console

from benchmarks import machine
from benchmarks.measure import WARM_UP
from benchmarks.page import Page
from benchmarks.roster import CONTENDERS, LEGWORK, WORKERS
from benchmarks.runner import Running
from benchmarks.stores import Stores, running_stores
from benchmarks.summary import percentile
from benchmarks.venvs import ROOT
from demo.eventually import eventually
from demo.processes import stop_on_signals

RESULTS = ROOT / "benchmarks" / "results"
CLUSTERS = 2
ALLOWED = 3.0
"""Seconds from the first short job's enqueueing to the last one's end."""
HEADINGS = ["", "all short jobs done after", "longest from enqueue to end", "median"]
BUSY, AMONG = "one worker of each cluster busy", "long jobs of the same kind among the short ones"

TIMES = """
    SELECT extract(epoch FROM finished_at - created_at), extract(epoch FROM finished_at - min(created_at) OVER ())
    FROM jobs_job WHERE kind = %s AND id > %s AND (params->>'seconds' IS NULL OR (params->>'seconds')::float = 0)
"""


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds. waits: from each short job's enqueueing to its end. last: from the first enqueueing to the last end."""

    waits: list[float]
    last: float


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    console = Console(highlight=False)
    facts = machine.facts()
    with running_stores(redis=False) as stores:
        facts |= stores.versions()
        found = {}
        for name, scenario in {BUSY: _busy, AMONG: _among}.items():
            with console.status(f"{name} …"), _clusters(stores, min(WARM_UP, options.short)) as running:
                found[name] = scenario(running, stores, options.short, options.long)
            console.print(f"{name}: all {options.short} short jobs done after {found[name].last:.2f} s")
    facts["size"] = f"{options.short} short jobs, {CLUSTERS} long ones of {options.long:g} s"
    facts["workers"] = f"{CLUSTERS} clusters with {WORKERS} worker processes each"
    console.print(_verdict(found))
    _write(options.results, found, facts)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.long_beside_short", description=__doc__)
    parser.add_argument("--short", type=int, default=500, help="Short jobs (default %(default)s).")
    parser.add_argument("--long", type=float, default=60, help="Seconds that a long job takes (default %(default)s).")
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


@contextmanager
def _clusters(stores: Stores, warm_up: int) -> Iterator[Running]:
    """Two clusters on a new database, warmed up."""
    legwork = next(contender for contender in CONTENDERS if contender.name == LEGWORK)
    two = replace(legwork, name="long-beside-short", processes=CLUSTERS, env={**legwork.env, "WORKER_GRACE": "1"})
    stores.create_database(two.name)
    with Running(two, stores) as running:
        running.client.ask("prepare")
        running.start_workers()
        for _ in range(2):
            running.client.ask("call", "enqueue_naps", [0.0] * warm_up)
            running.do_jobs(warm_up)
        yield running


def _busy(running: Running, stores: Stores, short: int, long: float) -> Times:
    """Each cluster gets a long job while the other one is stopped; then the short jobs are enqueued."""
    clusters = running.trees
    for number, busy in enumerate(clusters):
        others = [cluster for cluster in clusters if cluster is not busy]
        for cluster in others:
            cluster.stop()
        running.client.ask("call", "enqueue_naps", [long])
        eventually(partial(_as_many_naps_run, running, number + 1), long, "the start of a long job")
        for cluster in others:
            cluster.resume()
    newest: str = running.client.ask("call", "newest")
    goal = running.client.ask("stored") + short
    running.client.ask("enqueue", short)
    running.wait(goal)
    return _times(stores, running, "bench.noop", newest)


def _among(running: Running, stores: Stores, short: int, long: float) -> Times:
    """A long job is queued after each of the first two thirds of the short ones, all before the workers may begin."""
    running.workers.stop()
    newest: str = running.client.ask("call", "newest")
    third = [0.0] * (short // 3)
    running.client.ask("call", "enqueue_naps", [*third, long, *third, long, *[0.0] * (short - 2 * len(third))])
    running.workers.resume()
    eventually(lambda: running.client.ask("call", "unfinished_naps") <= CLUSTERS, long, "the end of all short jobs")
    return _times(stores, running, "bench.nap", newest)


def _as_many_naps_run(running: Running, wanted: int) -> bool:
    return bool(running.client.ask("call", "running_naps") == wanted)


def _times(stores: Stores, running: Running, kind: str, after: str) -> Times:
    with psycopg2.connect(stores.url_of_database(running.contender.name)) as connection, connection.cursor() as cursor:
        cursor.execute(TIMES, [kind, after])
        rows = [(float(wait), float(end)) for wait, end in cursor.fetchall()]
    return Times([wait for wait, _ in rows], max(end for _, end in rows))


def _write(folder: Path, found: Mapping[str, Times], facts: Mapping[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page = Page("Long jobs beside short ones", "`python -m benchmarks.long_beside_short` wrote this page.")
    page.facts(facts)
    page.table(
        HEADINGS,
        [
            [name, f"{times.last:.2f} s", f"{max(times.waits):.2f} s", f"{percentile(times.waits, 50):.2f} s"]
            for name, times in found.items()
        ],
    )
    page.text(_verdict(found))
    page.text((__doc__ or "").partition("\n")[2].strip())
    (folder / "long_beside_short.md").write_text(page.markdown())


def _verdict(found: Mapping[str, Times]) -> str:
    met = "met" if found[BUSY].last < ALLOWED else "NOT MET"
    return f"Bar, {BUSY}, all short jobs done in under {ALLOWED:g} s: {met} ({found[BUSY].last:.2f} s)."


if __name__ == "__main__":
    raise SystemExit(main())
