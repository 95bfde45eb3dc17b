"""Run as `python -m tests.soak --minutes 30`; its status is 0 when all promises were kept."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

import django

from demo.processes import stop_on_signals
from tests.support.servers.postgresql import PostgreSQL


def main() -> int:
    stop_on_signals()
    asked = _arguments()
    with PostgreSQL(durable=True) as server, tempfile.TemporaryDirectory(prefix="legwork-soak-") as outputs:
        os.environ.update(
            DJANGO_SETTINGS_MODULE="tests.soak.settings",
            DATABASE_URL=server.create_database("soak"),
            MEDIA_ROOT=outputs,
            WORKER_GRACE="5",
        )
        django.setup()
        from tests.soak.run import Course  # models can be imported only now

        return Course(asked).run()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="How long (default %(default)s).")
    parser.add_argument("--notifications", type=float, default=300, help="A second (default %(default)s).")
    parser.add_argument("--folder", type=Path, default=None, help="Where the cluster's log goes.")
    asked = parser.parse_args()
    asked.folder = asked.folder or Path(tempfile.mkdtemp(prefix="legwork-soak-log-"))
    asked.folder.mkdir(parents=True, exist_ok=True)
    return asked


if __name__ == "__main__":
    sys.exit(main())
