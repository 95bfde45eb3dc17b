"""A forked process of the cluster, seen from both sides: the guard's handle on it, and what it runs."""

import ctypes
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawValue
from typing import Protocol

from django.db import connections

GUARD_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}
PR_SET_PDEATHSIG = 1
CLUSTER = secrets.token_hex(3)
"""Drawn once in the guard, and so the same in all its children."""


class Program(Protocol):
    """What a child runs: made in the child (where it installs its signal handlers), then run to its end."""

    def run(self) -> None: ...


class Child:
    """A fixed place in the cluster; when its process dies, start() puts the next one there.

    predecessor: the name of the process that was here before. What it says is plain shared memory without a lock: a
    process that is killed while it writes must not leave anything locked.
    """

    def __init__(self, role: str, program: "Callable[[Child], Program]") -> None:
        self.role = role
        self.program = program
        self.name = self.predecessor = ""
        self.process: BaseProcess | None = None
        self.started_at = 0.0
        self._deadline = RawValue(ctypes.c_double, 0.0)
        self._condemned = RawValue(ctypes.c_bool, False)

    def start(self) -> None:
        self.predecessor = self.name
        self.expect_idle()
        self._condemned.value = False
        self.started_at = time.monotonic()
        connections.close_all()
        with _signals_blocked():
            self.process = get_context("fork").Process(target=self._run, args=(os.getpid(),), name=self.role)
            self.process.start()
        self.name = _name(self.process.pid)

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.is_alive()

    @property
    def stuck(self) -> bool:
        """Whether it has passed the moment by which it should have been done, or has given itself up."""
        return self._condemned.value or 0 < self._deadline.value < time.monotonic()

    def signal(self, number: signal.Signals) -> None:
        if self.process and self.process.pid and self.alive:
            os.kill(self.process.pid, number)

    def expect_done_within(self, seconds: float) -> None:
        """Said by the process itself: kill me if I am not idle by then. Said again, the earliest such moment counts."""
        until = time.monotonic() + seconds
        self._deadline.value = min(until, self._deadline.value or until)

    def expect_idle(self) -> None:
        self._deadline.value = 0.0

    def condemn(self) -> None:
        """Said by the process itself: kill me, whatever else I say; a thread of mine does not come back."""
        self._condemned.value = True

    def _run(self, guard: int) -> None:
        _die_with(guard)
        self.name = _name(os.getpid())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all of us; the guard decides
        program = self.program(self)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, GUARD_SIGNALS)
        program.run()


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """A signal that arrives while a child has not yet its own handlers is kept for it until it has."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, GUARD_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _name(pid: int | None) -> str:
    """Who this is, for the worker column and the logs: host/cluster:pid. Containers may share hosts' names and pids."""
    return f"{socket.gethostname()[:60]}/{CLUSTER}:{pid}"


def _die_with(guard: int) -> None:
    """Have the kernel kill this process as soon as its guard is gone: there are no orphans, however it died."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guard:
        os._exit(1)
