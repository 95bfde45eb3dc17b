"""Threads for the jobs of I/O-bound kinds. Each kind has a pool: at most threads= of its jobs run at once."""

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any

import structlog
from django.db import close_old_connections, connections

from jobs.models import Job
from jobs.registry import find_kind, kinds
from jobs.worker.prefetch import ThreadPrefetch

log = structlog.get_logger(__name__)

CLOSE_AFTER_IDLE = 2.0
"""Seconds without a job after which a thread closes its database connection, so that only busy threads hold one."""
TRUST_CONNECTION_FOR = 1.0
"""Seconds after its last use for which a connection is not checked again."""

RunJob = Callable[..., None]
"""Called in a thread with a job, the thread's slot in the watchdog, and what else start() was given."""
Started = tuple[Job, tuple[Any, ...]]
"""A job and what else start() was given."""


def total_threads() -> int:
    """The most threads that one process may have, over all kinds."""
    return sum(kind.threads for kind in kinds())


class ThreadPools:
    """Called by the main thread; waiting_jobs() by any. Threads start on demand."""

    def __init__(self, run_job: RunJob) -> None:
        self._run_job = run_job
        self._jobs: SimpleQueue[Started] = SimpleQueue()
        """Those for which there is a thread."""
        self._waiting: defaultdict[str, deque[Started]] = defaultdict(deque)
        """Those that the next free thread of their kind runs."""
        self._threads = 0
        self._ended = threading.Condition()
        self._running: Counter[str] = Counter()
        self._prefetch = ThreadPrefetch()

    @property
    def busy(self) -> bool:
        return self._running.total() > 0

    def free(self) -> dict[str, int]:
        """By kind: how many more jobs to start, now or as soon as a thread is free. Kinds with none are left out."""
        with self._ended:
            free = {kind.name: self._free(kind.name, kind.threads) for kind in kinds() if kind.threads}
        return {kind: count for kind, count in free.items() if count > 0}

    def start(self, job: Job, *given: Any) -> None:
        with self._ended:
            if self._running[job.kind] >= find_kind(job.kind).threads:
                self._waiting[job.kind].append((job, given))
                return
            self._running[job.kind] += 1
            wanted = self._running.total()
        if self._threads < wanted:
            # A daemon thread: an idle one must not keep its process alive.
            thread = threading.Thread(target=self._work, args=[self._threads], name=f"job-{self._threads}", daemon=True)
            self._threads += 1
            thread.start()
        self._jobs.put((job, given))

    def take_back(self, condition: Callable[..., bool]) -> list[Job]:
        """The waiting jobs for which it is true, called with what start() was given. They will not start."""
        taken: list[Job] = []
        with self._ended:
            for kind, waiting in self._waiting.items():
                taken += [job for job, given in waiting if condition(*given)]
                self._waiting[kind] = deque(each for each in waiting if not condition(*each[1]))
        return taken

    def waiting_jobs(self) -> list[Job]:
        """Those that wait for a thread."""
        with self._ended:
            return [job for waiting in self._waiting.values() for job, _ in waiting]

    def wait(self, seconds: float) -> bool:
        """Return when a job ends, or after this many seconds; True if one has ended."""
        with self._ended:
            return self.busy and self._ended.wait(seconds)

    def _work(self, slot: int) -> None:
        """The thread's loop: runs jobs as long as the process lives, all on one database connection."""
        used_at = time.monotonic()
        next_job: Started | None = None
        while True:
            with _errors_logged():
                job, given = next_job or self._wait_for_job()
                next_job = None
                self._begin(job.kind, slot)
                try:
                    if time.monotonic() - used_at > TRUST_CONNECTION_FOR or _connection_had_errors():
                        close_old_connections()
                    self._run_job(job, slot, *given)
                finally:
                    next_job = self._end(job.kind, slot)
                used_at = time.monotonic()

    def _wait_for_job(self) -> Started:
        try:
            return self._jobs.get(timeout=CLOSE_AFTER_IDLE)
        except Empty:
            connections.close_all()
            return self._jobs.get()

    def _begin(self, kind: str, slot: int) -> None:
        with self._ended:
            self._prefetch.begin(slot, kind)

    def _end(self, kind: str, slot: int) -> Started | None:
        """The job of this thread has ended. Returns one of the same kind that has waited for a thread."""
        with self._ended:
            self._prefetch.end(slot)
            self._ended.notify_all()
            if waiting := self._waiting[kind]:
                return waiting.popleft()
            self._running[kind] -= 1
            return None

    def _free(self, kind: str, threads: int) -> int:
        return threads + self._prefetch.limit(kind) - self._running[kind] - len(self._waiting[kind])


@contextmanager
def _errors_logged() -> Iterator[None]:
    """An error must not end the thread: jobs are claimed on the assumption that it lives."""
    try:
        yield
    except BaseException:
        log.exception("thread_failed")  # the job's lease expires, which ends the attempt


def _connection_had_errors() -> bool:
    """True if a connection of this thread has had an error, so it must be checked before its next use."""
    return any(connection.errors_occurred for connection in connections.all(initialized_only=True))
