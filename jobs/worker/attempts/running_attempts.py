"""The attempts that this process runs now: written by the threads that run them, read by heartbeat and timekeeper."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from jobs.models import Job
from jobs.worker.attempts.interrupt import Interrupted, Interruptible
from jobs.worker.watchdog import STUCK_AFTER, Watchdog


class RunningAttempt:
    """slot: of its thread, in the watchdog. written_progress: what the database has. checks: by the heartbeat.

    A context manager: the attempt runs in the block.
    """

    def __init__(self, job: Job, thread: Interruptible, slot: int, beside: "RunningAttempts") -> None:
        self.job = job
        self.thread = thread
        self.slot = slot
        self.written_progress = job.progress
        self.checks = 0
        self._beside = beside

    def __enter__(self) -> None:
        self._beside.add(self)

    def __exit__(self, *error: object) -> None:
        self._beside.remove(self)

    @property
    def is_long(self) -> bool:
        """Whether it has run from one check to the next."""
        return self.checks > 1


class RunningAttempts:
    """Thread-safe."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._attempts: dict[int, RunningAttempt] = {}
        self._task_thread: Interruptible | None = None
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[RunningAttempt]:
        """Over a snapshot."""
        with self._lock:
            return iter(list(self._attempts.values()))

    def attempt(self, job: Job, thread: Interruptible, slot: int) -> RunningAttempt:
        return RunningAttempt(job, thread, slot, self)

    def add(self, attempt: RunningAttempt) -> None:
        """It starts. The watchdog calls it stuck if it ignores its timeout for STUCK_AFTER."""
        self._watchdog.start(attempt.slot, attempt.job.pk, attempt.job.timeout + STUCK_AFTER)
        with self._lock:
            self._attempts[attempt.slot] = attempt

    def remove(self, attempt: RunningAttempt) -> None:
        """It has ended."""
        with self._lock:
            del self._attempts[attempt.slot]
        self._watchdog.finish(attempt.slot)

    @contextmanager
    def task(self, task_id: UUID, thread: Interruptible, seconds: float, slot: int = 0) -> Iterator[None]:
        """The body runs a django-q task. The watchdog calls it stuck if it ignores its timeout for STUCK_AFTER."""
        self._watchdog.start(slot, task_id, seconds + STUCK_AFTER)
        self._task_thread = thread
        try:
            yield
        finally:
            self._task_thread = None
            self._watchdog.finish(slot)

    def threads(self) -> list[Interruptible]:
        """Of everything that runs now, django-q tasks included."""
        task_thread = self._task_thread
        return [*([task_thread] if task_thread else []), *(attempt.thread for attempt in self)]

    def interrupt(self, attempt: RunningAttempt, reason: Interrupted) -> None:
        """Interrupt it; the supervisor kills the process if it ignores that for STUCK_AFTER. No-op if it has ended."""
        with self._lock:
            if self._attempts.get(attempt.slot) is attempt:
                self._watchdog.set_deadline(attempt.slot, STUCK_AFTER)
                attempt.thread.interrupt(reason)

    def interrupt_all(self, reason: Interrupted) -> None:
        for attempt in self:
            self.interrupt(attempt, reason)
