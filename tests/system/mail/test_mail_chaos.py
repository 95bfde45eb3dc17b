"""A small mail chaos (tests/mail_chaos): 200 messages meet every failure, and each ends where the policy says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from demo.stack import ROOT

MESSAGES, SEED = 200, 1
SETTLED_AFTER, KILL_EVERY = 6, 1
"""Seconds; shorter than in a long run, where the machine has more to do."""
KILLS = ["I/O worker killed (SIGKILL)", "whole cluster killed (SIGKILL)", "web process killed (SIGKILL)"]


@pytest.mark.xdist_group("chaos")
def test_each_message_ends_where_the_policy_says(tmp_path: Path) -> None:
    asked = {
        "messages": MESSAGES,
        "seed": SEED,
        "settled-after": SETTLED_AFTER,
        "kill-every": KILL_EVERY,
        "folder": tmp_path,
    }
    options = [part for name, value in asked.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "tests.mail_chaos", *options]

    chaos = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert chaos.returncode == 0, chaos.stdout + chaos.stderr[-5000:]
    assert re.search(rf"all +│ {MESSAGES} +│ {MESSAGES} +│", chaos.stdout)
    for kill in KILLS:
        assert re.search(rf"{re.escape(kill)} +│ +[1-9]", chaos.stdout), f"none: {kill}:\n{chaos.stdout}"
