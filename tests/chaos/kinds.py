"""The kinds of job that chaos is made of, and in which proportion."""

import os
import random
import tempfile
import time
from typing import Any

from rest_framework import serializers

from jobs.errors import TransientError
from jobs.registry import job
from jobs.retry import exponential
from jobs.run import Run
from jobs.strict import StrictSerializer
from tests.chaos.ledger import noted

SOON = exponential(attempts=100, base=0.5, cap=1)
LATE = 1
"""The timeout in seconds of the kind that exceeds it."""


class SecondsParams(StrictSerializer):
    seconds = serializers.FloatField()


class GateParams(StrictSerializer):
    gate = serializers.CharField()


class TimesParams(StrictSerializer):
    times = serializers.IntegerField()


@job("chaos.instant", retry=SOON)
def instant(run: Run) -> None:
    with noted(run):
        pass


@job("chaos.sleep", params=SecondsParams, retry=SOON)
def sleep(run: Run, *, seconds: float) -> float:
    with noted(run):
        time.sleep(seconds)
    return seconds


@job("chaos.hold", params=GateParams, retry=SOON)
def hold(run: Run, *, gate: str) -> None:
    """Wait until this file exists."""
    with noted(run):
        while not os.path.exists(gate):
            time.sleep(0.02)


@job("chaos.fail", params=TimesParams, retry=SOON)
def fail(run: Run, *, times: int) -> None:
    """Fail in the first attempts."""
    with noted(run):
        if run.attempt <= times:
            raise TransientError(f"attempt {run.attempt} of {times} that fail")


@job("chaos.steps", params=TimesParams, retry=SOON)
def steps(run: Run, *, times: int) -> None:
    """Report progress."""
    with noted(run):
        for step in range(times):
            run.progress(100 * step / times, f"step {step}")
            time.sleep(0.1)


@job("chaos.late", retry=SOON, timeout=LATE)
def late(run: Run) -> None:
    """Take longer than allowed, the first time."""
    with noted(run):
        time.sleep(10 * LATE if run.attempt == 1 else 0)


@job("chaos.write", retry=SOON)
def write(run: Run) -> int:
    """Write a file to the disk."""
    with noted(run), tempfile.TemporaryFile() as file:
        file.write(os.urandom(100_000))
        os.fsync(file.fileno())
        return file.tell()


def some_job(dice: random.Random) -> tuple[str, dict[str, Any]]:
    """A kind and its params: mostly short, some longer, a few that fail, are late, report or write."""
    kinds = {
        "chaos.instant": (66, dict),
        "chaos.sleep": (15, lambda: {"seconds": dice.uniform(0.05, 0.3)}),
        "chaos.fail": (10, lambda: {"times": dice.randint(1, 3)}),
        "chaos.steps": (4, lambda: {"times": dice.randint(2, 8)}),
        "chaos.write": (3, dict),
        "chaos.late": (0.5, dict),
    }
    if dice.random() < 0.0125:
        return "chaos.sleep", {"seconds": dice.uniform(2, 5)}
    kind = dice.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
    return kind, kinds[kind][1]()
