"""`python -m benchmarks.memory`: how much memory do the processes of a cluster need?

One cluster with two workers and one I/O worker, on PostgreSQL and then on Redis as its broker: first idle, then after
300 short jobs and 300 mails. Memory is PSS: pages that processes share are counted in equal parts to each.
`--root FOLDER` measures the code in another folder, for instance an older version.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import psycopg2
from rich.console import Console
from rich.table import Table

from benchmarks.roster import WORKERS
from benchmarks.stores import Stores, running_stores
from benchmarks.tree import Tree, memory_of
from benchmarks.venvs import ROOT
from demo.eventually import eventually
from demo.processes import Process, stop_on_signals
from tests.support.servers.simulator import Simulator

IO_WORKERS = 1
JOBS, MAILS = 300, 300
DONE_WITHIN = 300.0
DATABASE = "memory"
WORK = f"""
import django
django.setup()
from django.utils import timezone
from benchmarks.mails import SUBJECT, TEXT, addresses
from jobs.submit import submit_many
from mail.models import Message
from mail.submit import build_draft, store
sender = "Legwork <legwork@mg.example.org>"
mails = [Message(to=to, address=to, sender=sender, subject=SUBJECT, text=TEXT) for to in addresses({MAILS})]
store([build_draft(message, now=timezone.now()) for message in mails])
submit_many("demo.countdown", [{{"seconds": 0}}] * {JOBS})
"""

Figures = tuple[float, list[float]]
"""MiB of the whole tree, and of each process, parents first."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    table = Table("broker", "when", "MiB in all", "of each process", title=f"PSS of a cluster, {options.root}")
    with running_stores() as stores, Simulator() as simulator:
        for broker, url in {"PostgreSQL": "orm://", "Redis": f"{stores.url_of_redis()}/0"}.items():
            stores.empty_redis()
            env = {**os.environ, **_environment(stores, url), **simulator.env}
            for when, (total, each) in _measured(options.root, env).items():
                table.add_row(broker, when, f"{total:.0f}", " + ".join(f"{part:.0f}" for part in each))
    Console(width=110).print(table)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help="The folder of manage.py (default: this one).")
    return parser.parse_args(arguments)


def _environment(stores: Stores, broker_url: str) -> dict[str, str]:
    return {
        "DJANGO_SETTINGS_MODULE": "settings.development",
        "DATABASE_URL": stores.create_database(DATABASE),
        "BROKER_URL": broker_url,
        "WORKERS": str(WORKERS),
        "IO_WORKERS": str(IO_WORKERS),
        "WORKER_GRACE": "1",
    }


def _measured(root: Path, env: Mapping[str, str]) -> dict[str, Figures]:
    run = partial(subprocess.run, cwd=root, env=dict(env), check=True)
    run([sys.executable, "manage.py", "migrate", "--verbosity", "0"])
    with tempfile.TemporaryDirectory(prefix="legwork-bench-") as folder:
        command = [sys.executable, "manage.py", "qcluster"]
        cluster = Process("cluster", command, log=Path(folder, "log"), env=env, cwd=root)
        cluster.start()
        try:
            tree = Tree(cluster.pid)
            tree.wait_until_idle()
            idle = _figures(tree)
            run([sys.executable, "-c", WORK])
            eventually(partial(_all_done, env["DATABASE_URL"]), DONE_WITHIN, "the end of all jobs", pause=0.5)
            tree.wait_until_idle()
            return {"idle": idle, "after work": _figures(tree)}
        finally:
            cluster.stop()


def _figures(tree: Tree) -> Figures:
    return tree.memory().pss, [memory_of(pid).pss for pid in tree.pids()]


def _all_done(url: str) -> bool:
    with psycopg2.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FILTER (WHERE status = 'succeeded'), count(*) FROM jobs_job")
        row = cursor.fetchone()
    return row is not None and row[0] == row[1] >= JOBS + MAILS


if __name__ == "__main__":
    raise SystemExit(main())
