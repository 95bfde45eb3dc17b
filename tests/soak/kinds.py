"""The kinds of job that the soak is made of, how each of them ends, and how many of each are kept waiting."""

import sys
import time
from functools import cache

from django.contrib.auth.models import User
from django.db import transaction

from jobs.errors import PermanentError, TransientError
from jobs.models.states import Status
from jobs.registry import job
from jobs.retry import exponential
from jobs.run import Run

SOON = exponential(attempts=3, base=0.5, cap=1)
ONCE = exponential(attempts=1)
LATE = 1
"""The timeout in seconds of the kinds that exceed it."""
TRANSACTION = 0.2
"""Seconds that a handler's transaction takes."""
OUTPUT = 100_000
"""Bytes that a handler writes to its output."""
INTERNED = 40_000

WAITING = {
    "soak.instant": 20,
    "soak.sleep": 40,
    "soak.steps": 1,
    "soak.transaction": 4,
    "soak.output": 1,
    "soak.fail_once": 2,
    "soak.fail": 1,
    "soak.call": 8,
    "soak.steps_in_thread": 2,
    "soak.transaction_in_thread": 2,
    "soak.output_in_thread": 1,
    "soak.fail_in_thread": 1,
}
"""How many of each are to be due at any time."""
NOW_AND_THEN = [
    *["soak.late_in_thread", "soak.endless_in_thread", "soak.late"],
    *["soak.late_in_thread", "soak.endless_in_thread", "soak.endless"],
]
"""These take a worker or a thread for seconds: one of them every few seconds."""
ENDLESS = ["soak.endless", "soak.endless_in_thread"]
"""These are cancelled while they run."""
ENDS = {
    "soak.fail": Status.FAILED,
    "soak.fail_in_thread": Status.FAILED,
    "soak.late": Status.FAILED,
    "soak.late_in_thread": Status.FAILED,
    "soak.endless": Status.CANCELLED,
    "soak.endless_in_thread": Status.CANCELLED,
}
"""The final status of those that do not succeed."""


@cache
def grow_interned_strings() -> None:
    """Once a process: let CPython's table of interned strings grow by 2 MiB, as it does after 36,000 new strings.

    Each stored output interns eight, the parts of its path: the table would grow after twenty minutes, as if by a leak.
    """
    for number in range(INTERNED):
        sys.intern(f"soak {number}")


@job("soak.instant")
def instant(run: Run) -> int:
    return 42


@job("soak.sleep")
def sleep(run: Run) -> None:
    time.sleep(0.05)


@job("soak.call", threads=8)
def call(run: Run) -> None:
    """Wait for others, as mail and HTTP calls do."""
    time.sleep(0.2)


@job("soak.steps")
def steps(run: Run) -> None:
    """Report progress."""
    for step in range(10):
        run.progress(10 * step, f"step {step}")
        time.sleep(0.05)


@job("soak.steps_in_thread", threads=4)
def steps_in_thread(run: Run) -> None:
    steps(run)


@job("soak.transaction")
def short_transaction(run: Run) -> None:
    """Write in a transaction that reports progress."""
    with transaction.atomic():
        User.objects.create_user(f"soak-{run.job_id}").delete()
        run.progress(50, "in a transaction")
        time.sleep(TRANSACTION)


@job("soak.transaction_in_thread", threads=4)
def short_transaction_in_thread(run: Run) -> None:
    short_transaction(run)


@job("soak.output")
def output(run: Run) -> None:
    with run.output("soak.bin") as file:
        file.write(bytes(OUTPUT))


@job("soak.output_in_thread", threads=2)
def output_in_thread(run: Run) -> None:
    output(run)


@job("soak.fail_once", retry=SOON)
def fail_once(run: Run) -> None:
    if run.attempt == 1:
        raise TransientError("the first attempt fails")


@job("soak.fail")
def fail(run: Run) -> None:
    raise PermanentError("this job fails")


@job("soak.fail_in_thread", threads=2)
def fail_in_thread(run: Run) -> None:
    raise PermanentError("this job fails")


@job("soak.late", retry=ONCE, timeout=LATE)
def late(run: Run) -> None:
    """Take longer than allowed."""
    grow_interned_strings()
    time.sleep(60 * LATE)


@job("soak.late_in_thread", retry=ONCE, timeout=LATE, threads=2)
def late_in_thread(run: Run) -> None:
    """Take longer than allowed, in Python code that can be interrupted."""
    grow_interned_strings()
    endless_in_thread(run)


@job("soak.endless")
def endless(run: Run) -> None:
    time.sleep(600)


@job("soak.endless_in_thread", threads=2)
def endless_in_thread(run: Run) -> None:
    while True:
        time.sleep(0.05)
