"""A child process of the cluster: the supervisor's handle on it, and what the child itself runs after the fork."""

import ctypes
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from multiprocessing.sharedctypes import RawValue
from typing import Protocol

from django.db import connections

from jobs.cluster.forks import reset_signal_handlers_at_fork
from jobs.cluster.stall import STALLED_AFTER, SUSPECT_AFTER, StallClock, is_suspended, may_hold_gil
from jobs.worker.watchdog import JobIds, Predecessor, StartedJob, Watchdog

SUPERVISOR_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGUSR1}
PR_SET_PDEATHSIG = 1
WORKER_ROLES = ("worker", "io-worker", "reserve-worker")
"""The roles of processes that run jobs (jobs/management/commands/qcluster.py)."""
CLUSTER_ID = secrets.token_hex(3)
"""Random; drawn in the supervisor before the forks, so the same in all its children."""


class Program(Protocol):
    """What a child runs. Its constructor runs in the child too, and installs the signal handlers."""

    def run(self) -> None: ...


class Process:
    """One child of the supervisor. start() also replaces it after its death; the slots and the role stay."""

    def __init__(self, role: str, program: "Callable[[Process], Program]", slots: int = 1) -> None:
        self.role = role
        self.program = program
        self.name = ""
        self.predecessor: Predecessor | None = None
        self.watchdog = Watchdog(slots)
        self.started_at = 0.0
        self._has_taken_over = RawValue(ctypes.c_bool, False)
        self._pid, self._starts = RawValue(ctypes.c_int, 0), RawValue(ctypes.c_int, 0)
        self._process: BaseProcess | None = None
        self._stall = StallClock()
        self._killed: Predecessor | None = None

    def start(self) -> None:
        if self.name and (self.predecessor is None or self._has_taken_over.value):
            self.predecessor = self._as_predecessor()
        # else the one that ended died before it took over the jobs of its predecessor, and had claimed none itself
        self._has_taken_over.value = False
        self.watchdog.reset()
        self._stall, self._killed = StallClock(), None
        self.started_at = time.monotonic()
        connections.close_all()
        with _signals_blocked():
            self._process = get_context("fork").Process(target=self._run, args=(os.getpid(),), name=self.role)
            self._process.start()
        self.name = _process_name(self._process.pid)
        self._pid.value = self._process.pid or 0
        self._starts.value += 1

    def forget_predecessor(self) -> None:
        """Called in the child when it has taken over its predecessor's jobs, before it claims any."""
        self.predecessor = None
        self._has_taken_over.value = True

    @property
    def pid(self) -> int:
        """0 before the first start. In shared memory like the next two, because the dispatcher reads them."""
        return self._pid.value

    @property
    def replacements(self) -> int:
        """How many processes that ended were replaced."""
        return max(self._starts.value - 1, 0)

    @property
    def busy(self) -> bool:
        return bool(self.watchdog.started())

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.is_alive()

    @property
    def exitcode(self) -> int | None:
        return self._process.exitcode if self._process else None

    @property
    def sentinel(self) -> int | None:
        """For multiprocessing.connection.wait(): ready when the process ends."""
        return self._process.sentinel if self._process and self.alive else None

    def signal(self, number: signal.Signals) -> None:
        if self._process and self._process.pid and self.alive:
            os.kill(self._process.pid, number)

    def kill_if_stuck(self) -> str | None:
        """Kill it if a job is "overdue" or the process is "stalled": no Python code runs. Returns which, or None."""
        if not self.alive:
            return None
        now = time.monotonic()
        self._stall.observe(self.watchdog.last_beat, now)
        overdue = self.watchdog.overdue(now)
        if self._stall.seconds < STALLED_AFTER and not overdue:
            return None
        stalled = self._stall.seconds >= SUSPECT_AFTER
        self._killed = self._culprits(overdue) if stalled else Predecessor(self.name, timed_out=_ids(overdue))
        self.signal(signal.SIGKILL)
        return "stalled" if stalled else "overdue"

    def _culprits(self, overdue: list[StartedJob]) -> Predecessor:
        """Which jobs stall the process: those whose thread may hold the GIL, and among them the overdue ones if any.

        They have timed out if a job is overdue or if there is only one; otherwise all of them are lost. All jobs of a
        process that was suspended from outside are lost.
        """
        process = self._process.pid if self._process and self._process.pid else 0
        if not overdue and is_suspended(process):
            return Predecessor(self.name, lost=_ids(self.watchdog.started()))
        threads = may_hold_gil(process)
        suspects = [job for job in self.watchdog.started() if job.thread in threads] or self.watchdog.started()
        culprits = [job for job in suspects if job in overdue] or suspects
        if overdue or len(culprits) == 1:
            return Predecessor(self.name, timed_out=_ids(culprits))
        return Predecessor(self.name, lost=_ids(culprits))

    def _as_predecessor(self) -> Predecessor:
        """What ended it, from shared memory; called after its end."""
        return self._killed or Predecessor(self.name, lost=_ids(self.watchdog.started()))

    def _run(self, supervisor: int) -> None:
        _die_with_parent(supervisor)
        self.name = _process_name(os.getpid())
        reset_signal_handlers_at_fork()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the supervisor alone acts
        program = self.program(self)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SUPERVISOR_SIGNALS)
        program.run()


def _ids(jobs: Iterable[StartedJob]) -> JobIds:
    return frozenset(job.job_id for job in jobs)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Signals for the child stay pending until it has installed its handlers."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SUPERVISOR_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _process_name(pid: int | None) -> str:
    """host/cluster:pid, for the worker column and the logs. Host name and pid may be equal in two containers."""
    return f"{socket.gethostname()[:60]}/{CLUSTER_ID}:{pid}"


def _die_with_parent(supervisor: int) -> None:
    """Have the kernel kill this process when its supervisor ends for any reason, so that there are no orphans."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(1)
