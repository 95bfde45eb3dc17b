"""Shared memory in which a worker process tells its supervisor which jobs run, their deadlines, and its last beat.

Without a lock: a process that is killed while it writes must leave nothing locked. `started` is written last and
cleared first, so a half-written slot counts as empty.
"""

import ctypes
import math
import threading
import time
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawArray, RawValue
from uuid import UUID

STUCK_AFTER = 3.0
"""Seconds that a handler may ignore its interruption before the supervisor kills its process."""


class _Slot(ctypes.Structure):
    _fields_ = (
        ("started", ctypes.c_bool),
        ("job_id", ctypes.c_ubyte * 16),
        ("thread", ctypes.c_long),
        ("deadline", ctypes.c_double),
    )


JobIds = frozenset[UUID]
NO_JOBS: JobIds = frozenset()


@dataclass(frozen=True)
class Predecessor:
    """A process that died and was replaced. Jobs of it that are in neither set did not cause its death.

    timed_out: jobs that did not stop, for which it was killed. lost: jobs any of which may have killed it.
    """

    name: str
    timed_out: JobIds = NO_JOBS
    lost: JobIds = NO_JOBS


@dataclass(frozen=True)
class StartedJob:
    """The job in a slot. thread: its native id. deadline: by time.monotonic(), which all processes share."""

    job_id: UUID
    thread: int
    deadline: float


class Watchdog:
    """One per process, with a slot for each thread; a thread runs one job at a time."""

    def __init__(self, slots: int = 1) -> None:
        self._slots = RawArray(_Slot, slots)
        self._beat = RawValue(ctypes.c_double, 0.0)

    def reset(self) -> None:
        """Forget the previous process."""
        self._beat.value = 0.0
        for slot in self._slots:
            slot.started = False

    def start(self, slot: int, job_id: UUID, seconds: float) -> None:
        """The calling thread starts this job and must finish it within this many seconds."""
        own = self._slots[slot]
        own.job_id[:] = job_id.bytes
        own.thread = threading.get_native_id()
        own.deadline = time.monotonic() + seconds
        own.started = True

    def set_deadline(self, slot: int, seconds: float) -> None:
        """The job in this slot must end within this many seconds. An earlier deadline stays."""
        own = self._slots[slot]
        own.deadline = min(own.deadline, time.monotonic() + seconds)

    def finish(self, slot: int) -> None:
        self._slots[slot].started = False

    def beat(self) -> None:
        """Record that Python code runs in this process: no thread keeps the GIL."""
        self._beat.value = time.monotonic()

    def stop_beating(self) -> None:
        """No more beats are expected."""
        self._beat.value = math.inf

    @property
    def last_beat(self) -> float:
        """time.monotonic(); 0 before the first beat, inf after the last."""
        return self._beat.value

    def started(self) -> list[StartedJob]:
        """The jobs that run now."""
        running = [slot for slot in self._slots if slot.started]
        return [StartedJob(UUID(bytes=bytes(slot.job_id)), slot.thread, slot.deadline) for slot in running]

    def overdue(self, now: float) -> list[StartedJob]:
        """The jobs whose deadline has passed."""
        return [job for job in self.started() if job.deadline < now]
