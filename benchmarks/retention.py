"""`python -m benchmarks.retention`: what deleting many finished jobs costs the queue, and how much space it frees.

Two databases have the same number of finished rows, half of them expired. One cluster keeps them, the other one deletes
them.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import psycopg2
from rich.console import Console

from benchmarks import machine
from benchmarks.level import Level
from benchmarks.page import Page
from benchmarks.pressure import Case, Cluster, Sample
from benchmarks.stores import Stores, running_stores
from benchmarks.venvs import ROOT
from demo.processes import stop_on_signals

RESULTS = ROOT / "benchmarks" / "results"
WANTED = 0.90
KEEP = Case("keeps", "nothing is deleted", env={"JOB_RETENTION": "9999"})
DELETE = Case("deletes", "expired jobs are deleted", env={"JOB_RETENTION": "1"})
METHOD = """\
Two databases on one private PostgreSQL (fsync and synchronous_commit on, all else default), each with a cluster of two
workers and with copies of what a `bench.noop` leaves behind, made evenly over the last two days. One cluster keeps
finished jobs for ever, the other one for a day, so that half of the rows are expired when it starts. In each round the
jobs are enqueued, 500 in a call, while the cluster is stopped with SIGSTOP; a checkpoint follows. The clock starts with
SIGCONT and stops when all jobs have succeeded. Then it is the other cluster's turn. The dispatcher deletes in batches
of 500 for a tenth of its time, and only in the rounds of its cluster, because it is stopped in between. The result is
the median of the rounds' ratios.

Then the deleting cluster runs until nothing is expired, which is timed. **Space** is that of the table of jobs with its
indexes: before the rounds; after the rounds, the deletion and a VACUUM (as autovacuum would do); and after as many
further jobs as were deleted."""

console = Console(highlight=False, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    run = machine.facts() | {"begun": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}
    run["size"] = f"{options.finished:,} finished jobs, {options.jobs:,} jobs a round, {options.rounds} rounds"
    samples: dict[str, list[Sample]] = {KEEP.name: [], DELETE.name: []}
    with running_stores(redis=False) as stores, ExitStack() as stack:
        run |= stores.versions()
        clusters = [_cluster(stores, case, options.finished) for case in (KEEP, DELETE)]
        space = {"before": _space(clusters[1])}
        for cluster in clusters:
            stack.enter_context(cluster.running)
            cluster.start()
        deleting, cutoff = clusters[1], _cutoff(clusters[1])
        expired = _expired(deleting, cutoff)
        for number in range(1, options.rounds + 1):
            for cluster in clusters:
                sample = cluster.drain(options.jobs)
                samples[cluster.case.name].append(sample)
                console.print(f"round {number}: {cluster.case.title}: {sample.rate:,.0f}/s")
        during = expired - (left := _expired(deleting, cutoff))
        seconds = _delete_the_rest(deleting, cutoff)
        console.print(f"{during:,} deleted during the rounds, {left:,} in {seconds:.0f} s after them")
        stores.execute("VACUUM (ANALYZE) jobs_job", deleting.url.rpartition("/")[2])
        space["after the rounds and the deletion"] = _space(deleting)
        for _ in range(expired // options.jobs):
            deleting.drain(options.jobs)
        space["after as many further jobs"] = _space(deleting)
    deleted = [f"{expired:,}", f"{during:,}", f"{left / seconds:,.0f}"]
    _write(options.results, run, samples, deleted, space)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.retention", description=__doc__)
    parser.add_argument("--finished", type=int, default=2_000_000, help="In each database (default %(default)s).")
    parser.add_argument("--jobs", type=int, default=20_000, help="Jobs in each round (default %(default)s).")
    parser.add_argument("--rounds", type=int, default=15, help="Of both clusters (default %(default)s).")
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    return parser.parse_args(arguments)


def _cluster(stores: Stores, case: Case, finished: int) -> Cluster:
    name = Cluster.name_of(case)
    level = Level(stores, finished, name, apart=f"{2 * 86_400_000_000 // finished} us")
    with console.status(f"{finished:,} finished jobs are made …"):
        level.fill()
    return Cluster(stores, case, stores.url_of_database(name))


def _delete_the_rest(cluster: Cluster, cutoff: str) -> float:
    """Seconds until nothing is left from before the cutoff."""
    began = time.monotonic()
    cluster.running.workers.resume()
    while _expired(cluster, cutoff):
        time.sleep(0.5)
    cluster.running.workers.stop()
    return time.monotonic() - began


def _cutoff(cluster: Cluster) -> str:
    """Half a minute before what expires now, since the cluster may just have looked for expired jobs."""
    return str(_asked(cluster, "SELECT now() - interval '1 day 30 seconds'"))


def _expired(cluster: Cluster, cutoff: str) -> int:
    return int(_asked(cluster, "SELECT count(*) FROM jobs_job WHERE finished_at < %s", cutoff))


def _space(cluster: Cluster) -> int:
    """Bytes."""
    return int(_asked(cluster, "SELECT pg_total_relation_size('jobs_job')"))


def _asked(cluster: Cluster, query: str, *values: str) -> Any:
    with psycopg2.connect(cluster.url) as connection, connection.cursor() as cursor:
        cursor.execute(query, values or None)
        return cursor.fetchone()[0]


def _write(
    folder: Path,
    run: Mapping[str, str],
    samples: Mapping[str, Sequence[Sample]],
    deleted: Sequence[str],
    space: Mapping[str, int],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    page = Page("Deleting finished jobs", "`python -m benchmarks.retention` wrote this page.")
    page.facts(run)
    rounds = list(zip(samples[KEEP.name], samples[DELETE.name], strict=True))
    page.table(
        ["round", KEEP.title, DELETE.title, "ratio"],
        [
            [str(number), f"{keep.rate:,.0f}/s", f"{delete.rate:,.0f}/s", f"{delete.rate / keep.rate:.2f}"]
            for number, (keep, delete) in enumerate(rounds, 1)
        ],
    )
    ratio = median(delete.rate / keep.rate for keep, delete in rounds)
    met = "met" if ratio >= WANTED else "**not met**"
    page.text(f"Bar, at least {WANTED:.0%} of the rate while jobs are deleted: {met} ({ratio:.0%}).")
    page.section("The deletion")
    page.table(["expired jobs", "deleted during the rounds", "deleted per second after them"], [deleted])
    page.section("Space")
    page.table(["when", "MiB"], [[when, f"{size / 2**20:,.0f}"] for when, size in space.items()])
    page.section("How it is measured")
    page.text(METHOD)
    (folder / "retention.md").write_text(page.markdown())


if __name__ == "__main__":
    raise SystemExit(main())
