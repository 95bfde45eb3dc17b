"""Run as `python -m tests.chaos --seconds 60 --jobs 2000 --seed 1`; its status is 0 when all promises were kept."""

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

import django

from demo.processes import stop_on_signals
from tests.support.servers.postgresql import PostgreSQL

ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
    "WORKER_GRACE": "2",
    "LOG_LEVEL": "INFO",
}


def main() -> int:
    stop_on_signals()
    asked = _arguments()
    with PostgreSQL(durable=True) as server:
        os.environ.update(ENVIRONMENT, CHAOS_FOLDER=str(asked.folder), DATABASE_URL=server.create_database("chaos"))
        django.setup()
        from tests.chaos.run import Course  # models can be imported only now

        return Course(server, asked).run()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="How long things are killed.")
    parser.add_argument("--jobs", type=int, default=2000, help="How many are submitted meanwhile.")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--slack", type=float, default=0, help="Seconds that a busy machine may add to a promise.")
    parser.add_argument("--folder", type=Path, default=None, help="Where the clusters' logs go.")
    asked = parser.parse_args()
    asked.folder = asked.folder or Path(tempfile.mkdtemp(prefix="legwork-chaos-"))
    asked.folder.mkdir(parents=True, exist_ok=True)
    return asked


if __name__ == "__main__":
    sys.exit(main())
