"""`python -m benchmarks.plain_tasks`: plain django-q tasks a second, with our qcluster and with django-q2's own.

Both have the same database server, settings, tasks and number of workers. save_limit is 1000, and 1000 results are
stored before the clock starts. All workers are stopped (SIGSTOP) while the tasks are enqueued; the clock runs from
their release until the queue is empty: a task leaves it when its result is saved.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psycopg2

from benchmarks.stores import Stores, running_stores
from benchmarks.tree import Tree
from benchmarks.venvs import ROOT
from demo.eventually import eventually
from demo.processes import Process, stop_on_signals

SAVED = 1000
WARM_UP = 50
WITHIN = 600
OURS, STOCK = "Legwork's qcluster", "django-q2's own"
COMMANDS = {
    OURS: [sys.executable, "manage.py", "qcluster", "--io-workers", "0", "--workers"],
    STOCK: [
        sys.executable,
        "-c",
        "import django; django.setup(); from django_q.cluster import Cluster; Cluster().start()",
    ],
}
ENQUEUE = """
import django
django.setup()
from django_q.tasks import async_task
for _ in range({}):
    async_task("math.factorial", 5)
"""
FILL = """
    INSERT INTO django_q_task (id, name, func, started, stopped, success, attempt_count)
    SELECT md5(n::text), n::text, 'math.factorial', now(), now(), true, 1 FROM generate_series(1, %s) n
"""


@dataclass(frozen=True)
class Contender:
    """One of the two, on a database of its own."""

    name: str
    url: str
    workers: int

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DATABASE_URL": self.url,
            "DJANGO_SETTINGS_MODULE": "benchmarks.plain_tasks_settings",
            "PLAIN_STOCK": "1" if self.name == STOCK else "0",
            "WORKERS": str(self.workers),
        }

    def python(self, *arguments: str) -> None:
        environment = self.environment | {"PLAIN_STOCK": "0"} if "manage.py" in arguments else self.environment
        subprocess.run([sys.executable, *arguments], env=environment, cwd=ROOT, check=True)  # noqa: S603 our own

    @contextmanager
    def cluster(self, log: Path) -> Iterator[Tree]:
        command = COMMANDS[self.name] + ([str(self.workers)] if self.name == OURS else [])
        process = Process(self.name, command, log=log, env=self.environment, cwd=ROOT)
        process.start()
        try:
            yield Tree(process.pid)
        finally:
            process.stop()


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    stop_on_signals()
    rates: dict[str, list[float]] = {OURS: [], STOCK: []}
    with running_stores(redis=False) as stores, tempfile.TemporaryDirectory() as folder:
        for number in range(options.rounds):
            for name, found in rates.items():
                contender = Contender(name, stores.create_database(f"plain_{number}_{len(name)}"), options.workers)
                found.append(_rate(contender, stores, options.tasks, Path(folder) / "log"))
                print(f"{name}: {found[-1]:.0f} tasks/s", flush=True)  # noqa: T201 its purpose
    ratio = median(rates[OURS]) / median(rates[STOCK])
    print(f"Medians of {options.rounds}: {ratio:.1f} times the rate of {STOCK}")  # noqa: T201
    return 0 if ratio >= options.least else 1


def _rate(contender: Contender, stores: Stores, tasks: int, log: Path) -> float:
    """Tasks a second."""
    contender.python("manage.py", "migrate", "--verbosity", "0")
    with psycopg2.connect(contender.url) as connection, connection.cursor() as cursor:
        cursor.execute(FILL, [SAVED])
    connection.close()
    with contender.cluster(log) as tree:
        contender.python("-c", ENQUEUE.format(WARM_UP))
        _wait_until_empty(contender.url)
        tree.stop()
        contender.python("-c", ENQUEUE.format(tasks))
        stores.calm_down()
        began = time.perf_counter()
        tree.resume()
        _wait_until_empty(contender.url)
        return tasks / (time.perf_counter() - began)


def _wait_until_empty(url: str) -> None:
    connection = psycopg2.connect(url)
    connection.autocommit = True

    def is_empty() -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT NOT EXISTS (SELECT FROM django_q_ormq)")
            [(empty,)] = cursor.fetchall()
        return bool(empty)

    try:
        eventually(is_empty, WITHIN, "the end of the tasks", pause=0.02)
    finally:
        connection.close()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain_tasks", description=__doc__)
    parser.add_argument("--tasks", type=int, default=1000, help="Tasks of a round.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--least", type=float, default=3.0, help="The ratio below which the exit status is 1.")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
