"""Half a minute of chaos (tests/chaos): whatever is killed, each of a thousand jobs comes to exactly one end."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo.stack import ROOT

SECONDS, JOBS, SEED = 30, 1000, 1
SLACK = 45
"""Seconds that a busy machine may add to a promise, for clusters take long to start there."""

BLOWS = [
    *[
        "worker killed (SIGKILL)",
        "I/O worker killed (SIGKILL)",
        "dispatcher killed (SIGKILL)",
        "supervisor killed (SIGKILL)",
    ],
    *["cluster stopped (SIGTERM)", "cluster stopped, back with another clock", "PostgreSQL restarted (immediate)"],
    *["half of the connections cut", "all connections cut", "worker frozen (SIGSTOP)"],
    *["cluster frozen for longer than a lease", "failures of the maintenance task", "GIL holder submitted"],
    "long transactions with progress submitted",
]


@pytest.mark.xdist_group("chaos")
def test_half_a_minute_of_chaos_loses_nothing_and_ends_nothing_twice(tmp_path: Path) -> None:
    asked = {"seconds": SECONDS, "jobs": JOBS, "seed": SEED, "slack": SLACK, "folder": tmp_path}
    options = [part for name, value in asked.items() for part in (f"--{name}", str(value))]

    chaos = subprocess.run([sys.executable, "-m", "tests.chaos", *options], cwd=ROOT, capture_output=True, text=True)

    assert chaos.returncode == 0, chaos.stdout + chaos.stderr[-5000:]
    accounted = re.search(r"jobs accepted / ended +│ (\d+) / (\d+)", chaos.stdout)
    assert accounted
    assert int(accounted[1]) == int(accounted[2]) >= JOBS
    for blow in BLOWS:
        assert re.search(rf"{re.escape(blow)} +│ +[1-9]", chaos.stdout), f"nothing was {blow}:\n{chaos.stdout}"
