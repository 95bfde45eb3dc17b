"""Kinds of job that behave badly: each shows one way in which a handler can hurt its worker or ignore its orders."""

import ctypes
import hashlib
import itertools
import os
import re
import resource
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime

from django.contrib.auth.models import User
from django.db import connection, transaction
from rest_framework import serializers

from jobs.registry import job
from jobs.retry import exponential
from jobs.run import Run
from jobs.submit import submit
from rest.requests.strict import StrictSerializer
from tests.support.misbehaving_kinds import tasks as tasks  # its receiver

AT_ONCE = exponential(base=0)
TEN_MINUTES = 600
THREADS = 4
ROOM = 64 * 1024 * 1024


class SleepParams(StrictSerializer):
    seconds = serializers.FloatField()
    first_seconds = serializers.FloatField(required=False)


@job("trouble.sleep", params=SleepParams, retry=AT_ONCE)
def sleep(run: Run, *, seconds: float, first_seconds: float | None = None) -> None:
    """Sleep without reporting progress; the first attempt may be told to sleep longer."""
    time.sleep(first_seconds if first_seconds is not None and run.attempt == 1 else seconds)


class GateParams(StrictSerializer):
    gate = serializers.CharField()


@job("trouble.hold", params=GateParams, retry=AT_ONCE)
def hold(run: Run, *, gate: str) -> None:
    """Wait until this file exists, so that a test decides when the job ends."""
    while not os.path.exists(gate):
        time.sleep(0.02)


@job("trouble.hold_in_thread", params=GateParams, retry=AT_ONCE, threads=THREADS)
def hold_in_thread(run: Run, *, gate: str) -> None:
    """The same in a thread of an I/O worker."""
    hold(run, gate=gate)


@job("trouble.progress_in_transaction", params=GateParams, retry=AT_ONCE, threads=THREADS)
def progress_in_transaction(run: Run, *, gate: str) -> None:
    """Report progress in a transaction that stays open until this file exists."""
    with transaction.atomic():
        User.objects.exists()
        run.progress(50, "in a transaction")
        hold(run, gate=gate)


@job("trouble.query", retry=AT_ONCE)
def query(run: Run) -> None:
    """Wait ten minutes for the database."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_sleep(%s)", [TEN_MINUTES])


@job("trouble.query_in_thread", retry=AT_ONCE, threads=THREADS)
def query_in_thread(run: Run) -> None:
    """The same in a thread of an I/O worker."""
    query(run)


@job("trouble.report", params=GateParams, retry=AT_ONCE)
def report(run: Run, *, gate: str) -> None:
    """Report progress all the time until this file exists, and nothing else."""
    count = 0
    while not os.path.exists(gate):
        count += 1
        run.progress(50, f"report {count}")
        time.sleep(0.02)


@job("trouble.mail", queue="mail")
def mail(run: Run) -> None:
    """Do nothing, in the queue that mail is sent from."""


class HowParams(StrictSerializer):
    how = serializers.CharField()


@job("trouble.stuck", params=HowParams, retry=AT_ONCE)
def stuck(run: Run, *, how: str) -> None:
    """Do not return for minutes."""
    WAYS_TO_BE_STUCK[how]()


@job("trouble.stuck_in_thread", params=HowParams, retry=AT_ONCE, threads=THREADS)
def stuck_in_thread(run: Run, *, how: str) -> None:
    """The same in a thread of an I/O worker."""
    WAYS_TO_BE_STUCK[how]()


@job("trouble.die", params=HowParams, retry=AT_ONCE)
def die(run: Run, *, how: str) -> None:
    """Kill the process that runs this, or use up its memory."""
    WAYS_TO_DIE[how]()


class SipParams(StrictSerializer):
    poisoned = serializers.BooleanField()


@job("trouble.sip", params=SipParams, retry=AT_ONCE)
def sip(run: Run, *, poisoned: bool) -> None:
    """Do nothing, quickly; poisoned jobs kill their process."""
    if poisoned:
        os._exit(4)


class AgainParams(StrictSerializer):
    until = serializers.DateTimeField()
    priority = serializers.IntegerField()


@job("trouble.again", params=AgainParams)
def again(run: Run, *, until: datetime, priority: int) -> None:
    """Submit the same job once more before it ends, so that there is always another."""
    if datetime.now(UTC) < until:
        submit("trouble.again", {"until": until.isoformat(), "priority": priority}, priority=priority)
    time.sleep(0.02)


def _loop() -> None:
    end = time.monotonic() + TEN_MINUTES
    while time.monotonic() < end:
        pass


def _swallow_once() -> None:
    try:
        time.sleep(TEN_MINUTES)
    except BaseException:
        time.sleep(TEN_MINUTES)


def _hash() -> None:
    hashlib.pbkdf2_hmac("sha512", b"password", b"salt", 1_000_000_000)


WAYS_TO_BE_STUCK: dict[str, Callable[[], object]] = {
    "asleep": lambda: time.sleep(TEN_MINUTES),
    "looping": _loop,
    "swallowing": _swallow_once,
    "in a system call": lambda: ctypes.CDLL(None).sleep(TEN_MINUTES),
    "in a system call with the GIL": lambda: ctypes.PyDLL(None).sleep(TEN_MINUTES),
    "in C": _hash,
    "in C with the GIL": lambda: all(itertools.repeat(True)),
    "in a backtracking pattern": lambda: re.match("(a+)+$", "a" * 64 + "b"),
}


def _run_out_of_memory() -> None:
    """Allocate under a limit on memory, so that MemoryError is raised."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, before[1]))
    try:
        bytearray(4 * ROOM)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


WAYS_TO_DIE: dict[str, Callable[[], object]] = {
    "exiting": lambda: os._exit(3),
    "in a segmentation fault": lambda: ctypes.string_at(0),
    "killed by the kernel": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "out of memory": _run_out_of_memory,
}
