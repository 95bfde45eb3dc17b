"""Run as `python -m tests.chaos --seconds 60 --jobs 2000 --seed 1`; its status is 0 when all promises were kept."""

import argparse
import os
import random
import sys
import tempfile
from contextlib import nullcontext
from pathlib import Path

import django

from demo.processes import stop_on_signals
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.redis import Redis

ENVIRONMENT = {
    "DJANGO_SETTINGS_MODULE": "tests.chaos.settings",
    "WORKER_GRACE": "2",
    "LOG_LEVEL": "INFO",
}


def main() -> int:
    stop_on_signals()
    asked = _arguments()
    with PostgreSQL(durable=True) as server, Redis() if asked.redis else nullcontext() as redis:
        os.environ.update(ENVIRONMENT, CHAOS_FOLDER=str(asked.folder), DATABASE_URL=server.create_database("chaos"))
        if redis:
            os.environ["BROKER_URL"] = redis.url()
        django.setup()
        from tests.chaos.run import Course  # models can be imported only now

        return Course(server, redis, asked).run()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="How long things are killed.")
    parser.add_argument("--jobs", type=int, default=2000, help="How many are submitted meanwhile.")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--redis", action="store_true", help="Redis is the broker, and is killed with all it holds.")
    parser.add_argument("--held-snapshot", action="store_true", help="A transaction elsewhere keeps all dead rows.")
    parser.add_argument("--slack", type=float, default=0, help="Seconds that a busy machine may add to a promise.")
    parser.add_argument("--folder", type=Path, default=None, help="Where the clusters' logs go.")
    asked = parser.parse_args()
    asked.folder = asked.folder or Path(tempfile.mkdtemp(prefix="legwork-chaos-"))
    asked.folder.mkdir(parents=True, exist_ok=True)
    return asked


if __name__ == "__main__":
    sys.exit(main())
