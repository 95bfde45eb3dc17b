"""Run as `python -m tests.mail_chaos --messages 10000 --seed 1`; its status is 0 when all promises were kept."""

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

import django

from demo.processes import stop_on_signals
from tests.support.servers.postgresql import PostgreSQL
from tests.support.servers.simulator import Simulator

SETTINGS = "tests.mail_chaos.settings"
TIME_SCALE = 0.001
"""Ten minutes of the provider's take 0.6 seconds, and its last try of a webhook comes after half a minute."""
CONFIG = {"latency": 0.3, "index_delay": 2.0, "wait": 1.0}
"""Seconds. As calls take a while, many are under way when the provider says that it takes no more."""


def main() -> int:
    stop_on_signals()
    asked = _arguments()
    with PostgreSQL(durable=True) as server, Simulator(time_scale=TIME_SCALE) as simulator:
        os.environ.update(
            simulator.env,
            DJANGO_SETTINGS_MODULE=SETTINGS,
            DATABASE_URL=server.create_database("mail_chaos"),
            MAIL_SETTLED_AFTER=str(asked.settled_after),
        )
        django.setup()
        from tests.mail_chaos.run import Course
        from tests.support.cluster_stack import ClusterStack  # models can be imported only now

        env = {"DJANGO_SETTINGS_MODULE": SETTINGS}
        url = os.environ["DATABASE_URL"]
        with ClusterStack(url, asked.folder, clusters=2, workers=1, io_workers=1, env=env) as stack:
            simulator.configure(webhook_url=f"{stack.url}/webhooks/mailgun/tracking/", **CONFIG)
            return Course(stack, simulator, asked).run()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mail_chaos", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000, help="How many are posted.")
    parser.add_argument("--seed", type=int, default=random.randrange(1_000_000))
    parser.add_argument("--settled-after", type=int, default=20, help="MAIL_SETTLED_AFTER, in seconds.")
    parser.add_argument("--kill-every", type=float, default=5, help="Seconds between two kills, on average.")
    parser.add_argument("--folder", type=Path, default=None, help="Where the logs go.")
    asked = parser.parse_args()
    asked.folder = asked.folder or Path(tempfile.mkdtemp(prefix="legwork-mail-chaos-"))
    asked.folder.mkdir(parents=True, exist_ok=True)
    return asked


if __name__ == "__main__":
    sys.exit(main())
