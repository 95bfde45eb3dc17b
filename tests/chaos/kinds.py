"""The kinds of job that chaos is made of, and in which proportion."""

import ctypes
import os
import random
import re
import tempfile
import time
from collections.abc import Callable
from typing import Any

from django.db import transaction
from rest_framework import serializers

from jobs.errors import TransientError
from jobs.models import Job
from jobs.registry import job
from jobs.retry import exponential
from jobs.run import Run
from rest.requests.strict import StrictSerializer
from tests.chaos.ledger import note, noted, noted_for_certain

SOON = exponential(attempts=100, base=0.5, cap=1)
LATE = 1
"""The timeout in seconds of the kinds that exceed it."""
THREADS = 8
HELD_FOR = 60
"""Seconds that a GIL holder would hold it, if nobody killed its process."""
INDEPENDENT = ["chaos.report", "chaos.report_in_thread"]
"""These kinds use no database connection: no error of a connection may fail them."""


class SecondsParams(StrictSerializer):
    seconds = serializers.FloatField()


class GateParams(StrictSerializer):
    gate = serializers.CharField()


class TimesParams(StrictSerializer):
    times = serializers.IntegerField()


class HowParams(StrictSerializer):
    how = serializers.CharField()


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
    """Wait until the file `gate` exists."""
    with noted(run):
        while not os.path.exists(gate):
            time.sleep(0.02)


@job("chaos.fail", params=TimesParams, retry=SOON)
def fail(run: Run, *, times: int) -> None:
    """Fail in the first `times` attempts."""
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


@job("chaos.report", params=TimesParams, retry=SOON)
def report(run: Run, *, times: int) -> None:
    """Report progress, and use no database connection."""
    with noted_for_certain(run):
        for step in range(times):
            run.progress(100 * step / times, f"step {step}")
            time.sleep(0.1)


@job("chaos.report_in_thread", params=TimesParams, retry=SOON, threads=THREADS)
def report_in_thread(run: Run, *, times: int) -> None:
    """The same in a thread of an I/O worker."""
    report(run, times=times)


@job("chaos.call", params=SecondsParams, retry=SOON, threads=THREADS)
def call(run: Run, *, seconds: float) -> None:
    """Wait, as mail and HTTP calls wait for a server."""
    with noted(run):
        time.sleep(seconds)


@job("chaos.late_in_thread", retry=SOON, timeout=LATE, threads=THREADS)
def late_in_thread(run: Run) -> None:
    """Take longer than allowed, the first time, in Python code that can be interrupted."""
    with noted(run):
        end = time.monotonic() + (10 * LATE if run.attempt == 1 else 0)
        while time.monotonic() < end:
            time.sleep(0.02)


@job("chaos.transaction", params=TimesParams, retry=SOON, threads=THREADS)
def long_transaction(run: Run, *, times: int) -> None:
    """Report progress in a transaction that has the job's own row locked."""
    with noted(run), transaction.atomic():
        Job.objects.select_for_update().get(pk=run.job_id)
        note(run, "transaction")
        for step in range(times):
            run.progress(100 * step / times, f"step {step} in a transaction")
            time.sleep(0.1)


@job("chaos.gil", params=HowParams, retry=SOON, timeout=2 * LATE)
def hold_gil(run: Run, *, how: str) -> None:
    """Let no other thread run Python code, the first time."""
    with noted(run):
        if run.attempt == 1:
            WAYS_TO_HOLD_THE_GIL[how]()


@job("chaos.gil_in_thread", params=HowParams, retry=SOON, timeout=2 * LATE, threads=THREADS)
def hold_gil_in_thread(run: Run, *, how: str) -> None:
    """The same in a thread of an I/O worker."""
    hold_gil(run, how=how)


@job("chaos.write", retry=SOON)
def write(run: Run) -> int:
    """Write a file to the disk."""
    with noted(run), tempfile.TemporaryFile() as file:
        file.write(os.urandom(100_000))
        os.fsync(file.fileno())
        return file.tell()


WAYS_TO_HOLD_THE_GIL: dict[str, Callable[[], object]] = {
    "in a system call": lambda: ctypes.PyDLL(None).sleep(HELD_FOR),
    "in a backtracking pattern": lambda: re.match("(a+)+$", "a" * 64 + "b"),
}


def some_job(dice: random.Random) -> tuple[str, dict[str, Any]]:
    """A kind and its params: mostly short, some longer, a few that fail, are late, report or write."""
    kinds: dict[str, tuple[float, Callable[[], dict[str, Any]]]] = {
        "chaos.instant": (50, dict),
        "chaos.sleep": (12, lambda: {"seconds": dice.uniform(0.05, 0.3)}),
        "chaos.call": (20, lambda: {"seconds": dice.uniform(0.05, 0.5)}),
        "chaos.fail": (8, lambda: {"times": dice.randint(1, 3)}),
        "chaos.steps": (2, lambda: {"times": dice.randint(2, 8)}),
        "chaos.report": (2, lambda: {"times": dice.randint(2, 20)}),
        "chaos.report_in_thread": (3, lambda: {"times": dice.randint(2, 60)}),
        "chaos.transaction": (1, lambda: {"times": dice.randint(2, 20)}),
        "chaos.write": (3, dict),
        "chaos.late": (0.5, dict),
        "chaos.late_in_thread": (0.5, dict),
    }
    if dice.random() < 0.0125:
        return "chaos.sleep", {"seconds": dice.uniform(2, 5)}
    kind = dice.choices(list(kinds), [weight for weight, _ in kinds.values()])[0]
    return kind, kinds[kind][1]()


def gil_holder(dice: random.Random) -> tuple[str, dict[str, Any]]:
    kind = dice.choice(["chaos.gil", "chaos.gil_in_thread"])
    return kind, {"how": dice.choice(list(WAYS_TO_HOLD_THE_GIL))}


def transaction_of_seconds(dice: random.Random) -> tuple[str, dict[str, Any]]:
    """Takes longer than the time between two heartbeats."""
    return "chaos.transaction", {"times": dice.randint(40, 80)}
