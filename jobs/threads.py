"""Jobs of I/O-bound kinds: many at once in one worker process, each in a thread."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

import structlog
from django.db import close_old_connections, connections

from jobs.models import Job
from jobs.registry import UnknownKind, find, kinds

log = structlog.get_logger(__name__)

IDLE = 2.0
"""Seconds without a job after which a thread gives up its database connection, so that only busy ones have one."""
TRUSTED = 1.0
"""Seconds for which a connection that has just been used is believed to be alive."""

Execute = Callable[[Job], None]


class Threads:
    """What runs beside the main thread. All but the bodies of its threads is called by the main thread alone."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._started = 0
        self._ended = threading.Condition()
        self._running: Counter[str] = Counter()

    @property
    def busy(self) -> bool:
        return self._running.total() > 0

    def free(self, kind: str) -> int:
        """How many more jobs of this kind could start now; 0 also when it does not run in threads."""
        return threads_of(kind) - self._running[kind]

    def most_free(self) -> int:
        """Of the kind that has the most places left."""
        return max((self.free(kind.name) for kind in kinds()), default=0)

    def full(self) -> list[str]:
        """The kinds of which none can start now, because as many as may are running."""
        return [kind.name for kind in kinds() if kind.threads and self.free(kind.name) <= 0]

    def start(self, job: Job) -> None:
        with self._ended:
            self._running[job.kind] += 1
            wanted = self._running.total()
        if self._started < wanted:
            self._started += 1
            # A daemon: an idle one must not keep its process from ending.
            threading.Thread(target=self._work, name=f"job-{self._started}", daemon=True).start()
        self._jobs.put(job)

    def wait(self, seconds: float) -> None:
        """Until a job has ended, or so many seconds have passed."""
        with self._ended:
            if self.busy:
                self._ended.wait(seconds)

    def _work(self) -> None:
        """The body of a thread: one job after the other, for as long as its process lives, on the same connection."""
        used_at = time.monotonic()
        while True:
            with _outliving_everything():
                job = self._next()
                with self._counting(job):
                    if time.monotonic() - used_at > TRUSTED or _in_doubt():
                        close_old_connections()
                    self._execute(job)
                used_at = time.monotonic()

    def _next(self) -> Job:
        try:
            return self._jobs.get(timeout=IDLE)
        except Empty:
            connections.close_all()
            return self._jobs.get()

    @contextmanager
    def _counting(self, job: Job) -> Iterator[None]:
        """The job runs until the end of the body, however that comes."""
        try:
            yield
        finally:
            with self._ended:
                self._running[job.kind] -= 1
                self._ended.notify_all()


@contextmanager
def _outliving_everything() -> Iterator[None]:
    """What is wrong with one job or connection must not cost the thread: jobs are counted on finding it there."""
    try:
        yield
    except BaseException:
        log.exception("thread_failed")  # the lease of its job will end, and the attempt with it


def _in_doubt() -> bool:
    """Whether something went wrong on a connection of this thread, which is then tried before it is used again."""
    return any(connection.errors_occurred for connection in connections.all(initialized_only=True))


def threads_of(kind: str) -> int:
    try:
        return find(kind).threads
    except UnknownKind:
        return 0
