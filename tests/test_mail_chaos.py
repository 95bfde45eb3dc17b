"""A small storm (tests/mail_chaos): 200 messages meet every failure, and each ends where the policy says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo.stack import ROOT

MESSAGES, SEED = 200, 1
SETTLED_AFTER = 6
"""Seconds; shorter than in a long run, where the machine has more to do."""
BLOWS = ["I/O worker killed (SIGKILL)", "whole cluster killed (SIGKILL)", "web process killed (SIGKILL)"]


@pytest.mark.xdist_group("chaos")
def test_each_message_of_a_storm_ends_where_the_policy_says(tmp_path: Path) -> None:
    asked = {"messages": MESSAGES, "seed": SEED, "settled-after": SETTLED_AFTER, "folder": tmp_path}
    options = [part for name, value in asked.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "tests.mail_chaos", *options]

    storm = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert storm.returncode == 0, storm.stdout + storm.stderr[-5000:]
    assert re.search(rf"all +│ {MESSAGES} +│ {MESSAGES} +│", storm.stdout)
    for blow in BLOWS:
        assert re.search(rf"{re.escape(blow)} +│ +[1-9]", storm.stdout), f"nothing was {blow}:\n{storm.stdout}"
