"""`python -m benchmarks.scaling.per_job`: what a job costs PostgreSQL, from its INSERT to its end: commits, WAL, CPU.

Jobs do nothing, so that nothing but the queue is counted. Writes a page of results.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from rich.console import Console

from benchmarks import machine
from benchmarks.page import Page
from benchmarks.stores import Stores, running_stores
from benchmarks.venvs import ROOT
from demo.eventually import eventually
from demo.processes import Process, stop_on_signals

RESULTS = ROOT / "benchmarks" / "results"
MANAGE = [sys.executable, str(ROOT / "manage.py")]
SUBMIT = """
from jobs.submit import submit, submit_many
if {single}:
    for _ in range({jobs}): submit("bench.noop")
else:
    submit_many("bench.noop", [{{}}] * {jobs})
"""
COUNTERS = """
    SELECT xact_commit, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')
    FROM pg_stat_database WHERE datname = current_database()
"""
HEADINGS = ["what", "commits a job", "WAL a job, bytes", "CPU of PostgreSQL a job, µs"]
SETTLED = 2.0
"""Seconds after which PostgreSQL's sessions have reported their statistics, which they do at most once a second."""


@dataclass(frozen=True, slots=True)
class Count:
    commits: float
    wal: float
    cpu: float

    def per_job(self, before: "Count", jobs: int) -> list[str]:
        return [
            f"{(self.commits - before.commits) / jobs:.2f}",
            f"{(self.wal - before.wal) / jobs:,.0f}",
            f"{(self.cpu - before.cpu) / jobs * 1e6:,.0f}",
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling.per_job", description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder to write to.")
    options = parser.parse_args(arguments)
    stop_on_signals()
    facts = machine.facts()
    with running_stores(redis=False) as stores:
        facts |= stores.versions()
        rows = _measure(stores, options.jobs)
    for row in rows:
        Console(highlight=False).print(" · ".join(row))
    page = Page("What a job costs the database", "`python -m benchmarks.scaling.per_job` wrote this page.")
    page.facts(facts | {"size": f"{options.jobs:,} jobs that do nothing, two workers"})
    page.table(HEADINGS, rows)
    page.text(
        "There is a checkpoint before each part, so its first write to each page also logs the whole page, as in"
        " production after each checkpoint."
    )
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "per-job.md").write_text(page.markdown())
    return 0


def _measure(stores: Stores, jobs: int) -> list[list[str]]:
    url = stores.create_database("per_job")
    env = {**os.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "benchmarks.settings"}
    _manage(env, "migrate", "--noinput", "--verbosity", "0")
    rows = []
    for single, name in ((True, "submitted one at a time"), (False, "submitted in bulk")):
        before = _count(stores, url)
        _manage(env, "shell", "--command", SUBMIT.format(single=single, jobs=jobs))
        rows.append([name, *_count(stores, url).per_job(before, jobs)])
    log = stores.postgresql.folder / "qcluster.log"
    command = [*MANAGE, "qcluster", "--workers", "2", "--io-workers", "0"]
    cluster = Process("qcluster", command, log=log, env=env, cwd=ROOT)
    before = _count(stores, url)
    cluster.start()
    try:
        eventually(lambda: _left(url) == 0, 600, "the end of all jobs", pause=0.2)
    finally:
        cluster.stop()
    rows.append(["claimed, run and finished", *_count(stores, url).per_job(before, 2 * jobs)])
    return rows


def _manage(env: dict[str, str], *arguments: str) -> None:
    subprocess.run([*MANAGE, *arguments], env=env, cwd=ROOT, check=True)  # noqa: S603 our own commands


def _count(stores: Stores, url: str) -> Count:
    stores.calm_down()
    time.sleep(SETTLED)
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(COUNTERS)
        commits, wal = cursor.fetchone() or (0, 0)
    return Count(float(commits), float(wal), stores.tree().cpu_seconds())


def _left(url: str) -> int:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM jobs_job WHERE status <> 'succeeded'")
        return int((cursor.fetchone() or (0,))[0])


if __name__ == "__main__":
    raise SystemExit(main())
