"""The threads of an I/O worker: for each kind as many as its threads= says."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

import structlog
from django.db import close_old_connections, connections

from jobs.models import Job
from jobs.registry import kinds

log = structlog.get_logger(__name__)

IDLE = 2.0
"""Seconds without a job after which a thread gives up its database connection, so that only busy ones have one."""
TRUSTED = 1.0
"""Seconds for which a connection that has just been used is believed to be alive."""

Execute = Callable[[Job, int], None]
"""Called in a thread with a job and the number of the thread."""


def total_threads() -> int:
    """How many threads all kinds of this project may have in one process."""
    return sum(kind.threads for kind in kinds())


class ThreadPools:
    """All but the bodies of the threads is called by the main thread alone. Threads are made when they are needed."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._started = 0
        self._ended = threading.Condition()
        self._running: Counter[str] = Counter()

    @property
    def busy(self) -> bool:
        return self._running.total() > 0

    def free(self) -> dict[str, int]:
        """For each kind of which another job could start now: how many could."""
        free = {kind.name: kind.threads - self._running[kind.name] for kind in kinds() if kind.threads}
        return {kind: count for kind, count in free.items() if count > 0}

    def start(self, job: Job) -> None:
        with self._ended:
            self._running[job.kind] += 1
            wanted = self._running.total()
        if self._started < wanted:
            # A daemon: an idle one must not keep its process from ending.
            thread = threading.Thread(target=self._work, args=[self._started], name=f"job-{self._started}", daemon=True)
            self._started += 1
            thread.start()
        self._jobs.put(job)

    def wait(self, seconds: float) -> None:
        """Until a job has ended, or so many seconds have passed."""
        with self._ended:
            if self.busy:
                self._ended.wait(seconds)

    def _work(self, number: int) -> None:
        """The body of a thread: one job after the other, for as long as its process lives, on the same connection."""
        used_at = time.monotonic()
        while True:
            with _surviving_errors():
                job = self._next()
                with self._counting(job):
                    if time.monotonic() - used_at > TRUSTED or _in_doubt():
                        close_old_connections()
                    self._execute(job, number)
                used_at = time.monotonic()

    def _next(self) -> Job:
        try:
            return self._jobs.get(timeout=IDLE)
        except Empty:
            connections.close_all()
            return self._jobs.get()

    @contextmanager
    def _counting(self, job: Job) -> Iterator[None]:
        """The job counts as running until the end of the body, even if that raises."""
        try:
            yield
        finally:
            with self._ended:
                self._running[job.kind] -= 1
                self._ended.notify_all()


@contextmanager
def _surviving_errors() -> Iterator[None]:
    """An error with one job or connection must not cost the thread: jobs are claimed because it is there."""
    try:
        yield
    except BaseException:
        log.exception("thread_failed")  # the lease of its job will end, and the attempt with it


def _in_doubt() -> bool:
    """True if something went wrong on a connection of this thread, which is then tried before it is used again."""
    return any(connection.errors_occurred for connection in connections.all(initialized_only=True))
