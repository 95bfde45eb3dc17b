"""Run as `python -m tests.remote_chaos --jobs 2000 --workers 50 --seed 1`; status 0: all promises were kept."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import django
from rich.console import Console
from rich.table import Table

from demo.processes import stop_on_signals
from tests.support.servers.postgresql import PostgreSQL

MOST_SHOWN = 20


def main() -> int:
    stop_on_signals()
    asked = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="legwork-remote-chaos-"))
    with PostgreSQL(durable=True) as server:
        os.environ |= {"DATABASE_URL": server.create_database("remote_chaos"), **ENVIRONMENT}
        django.setup()
        from tests.remote_chaos.run import Course, Size  # which need the variables
        from tests.support.cluster_stack import ClusterStack

        env = {"DJANGO_SETTINGS_MODULE": SETTINGS, "RATE_LIMIT_PER_MINUTE": "1000000"}
        with ClusterStack(os.environ["DATABASE_URL"], folder, workers=1, env=env) as stack:
            course = Course(stack, Size(asked.jobs, asked.workers, asked.owners, asked.seed))
            problems = course.run()
            _show(course.table(), asked.seed)
    console = Console(width=110)
    for problem in problems[:MOST_SHOWN]:
        console.print(problem, highlight=False)
    console.print(f"{len(problems)} broken promises; logs in {folder}")
    return 1 if problems else 0


SETTINGS = "tests.support.remote_kinds.settings"
ENVIRONMENT = {"DJANGO_SETTINGS_MODULE": SETTINGS, "LOG_LEVEL": "WARNING"}


def _show(rows: list[tuple[str, str]], seed: int) -> None:
    table = Table("what", "how much", title=f"remote chaos, seed {seed}")
    for row in rows:
        table.add_row(*row)
    Console(width=110).print(table)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.remote_chaos", description=__doc__)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=50)
    parser.add_argument("--owners", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
