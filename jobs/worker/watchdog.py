"""Shared memory in which a worker process tells its supervisor what it runs, by when, and that Python still runs.

There is no lock: a process that is killed while it writes must leave nothing locked. `started` is written last and
cleared first, so a slot that is half written counts as empty.
"""

import ctypes
import math
import threading
import time
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawArray, RawValue
from uuid import UUID

STUCK_AFTER = 3.0
"""Seconds from the interruption of a handler to the killing of its process, should the handler not react."""


class _Slot(ctypes.Structure):
    _fields_ = (
        ("started", ctypes.c_bool),
        ("job_id", ctypes.c_ubyte * 16),
        ("thread", ctypes.c_long),
        ("deadline", ctypes.c_double),
    )


Jobs = frozenset[UUID]
NO_JOBS: Jobs = frozenset()


@dataclass(frozen=True)
class Predecessor:
    """The process that was here before. The other jobs that it had claimed had not started, or did not end it.

    timed_out: jobs that it was killed for, because they did not stop. lost: jobs any of which may have ended it.
    """

    name: str
    timed_out: Jobs = NO_JOBS
    lost: Jobs = NO_JOBS


@dataclass(frozen=True)
class Started:
    """What a slot says. thread: its native id. deadline: by time.monotonic(), the same clock in all processes."""

    job_id: UUID
    thread: int
    deadline: float


class Watchdog:
    """One per process. A slot belongs to one thread, which runs one job at a time."""

    def __init__(self, slots: int = 1) -> None:
        self._slots = RawArray(_Slot, slots)
        self._beat = RawValue(ctypes.c_double, 0.0)

    def reset(self) -> None:
        """The next process begins with nothing."""
        self._beat.value = 0.0
        for slot in self._slots:
            slot.started = False

    def start(self, slot: int, job_id: UUID, seconds: float) -> None:
        """The calling thread starts this job, and is stuck if it has not finished it after so many seconds."""
        own = self._slots[slot]
        own.job_id[:] = job_id.bytes
        own.thread = threading.get_native_id()
        own.deadline = time.monotonic() + seconds
        own.started = True

    def set_deadline(self, slot: int, seconds: float) -> None:
        """The job in this slot has to end within so many seconds; an earlier deadline stays."""
        own = self._slots[slot]
        own.deadline = min(own.deadline, time.monotonic() + seconds)

    def finish(self, slot: int) -> None:
        self._slots[slot].started = False

    def beat(self) -> None:
        """Python code runs in this process: no thread holds the GIL for good."""
        self._beat.value = time.monotonic()

    def stop_beating(self) -> None:
        """From here on no beat is expected."""
        self._beat.value = math.inf

    @property
    def last_beat(self) -> float:
        """0 before the first one, inf after the last."""
        return self._beat.value

    def started(self) -> list[Started]:
        """The jobs that run now."""
        return [
            Started(UUID(bytes=bytes(slot.job_id)), slot.thread, slot.deadline) for slot in self._slots if slot.started
        ]

    def overdue(self, now: float) -> list[Started]:
        """The jobs whose deadline has passed."""
        return [job for job in self.started() if job.deadline < now]
