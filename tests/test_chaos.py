"""Half a minute of chaos (tests/chaos): whatever is killed, each of a thousand jobs comes to exactly one end."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo.stack import ROOT
from tests.chaos.monkey import ACTS

SECONDS, JOBS, SEED = 30, 1000, 1
SLACK = 45
"""Seconds that a busy machine may add to a promise, for clusters take long to start there."""


@pytest.mark.xdist_group("chaos")
def test_half_a_minute_of_chaos_loses_nothing_and_ends_nothing_twice(tmp_path: Path) -> None:
    asked = {"seconds": SECONDS, "jobs": JOBS, "seed": SEED, "slack": SLACK, "folder": tmp_path}
    options = [part for name, value in asked.items() for part in (f"--{name}", str(value))]

    chaos = subprocess.run([sys.executable, "-m", "tests.chaos", *options], cwd=ROOT, capture_output=True, text=True)

    assert chaos.returncode == 0, chaos.stdout + chaos.stderr[-5000:]
    assert f"{JOBS} / {JOBS}" in chaos.stdout
    for blow in [*ACTS, "PostgreSQL restarted (immediate)", "failures of the maintenance task"]:
        assert re.search(rf"{re.escape(blow)} +│ +[1-9]", chaos.stdout), f"nothing was {blow}:\n{chaos.stdout}"
