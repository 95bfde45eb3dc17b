"""Jobs of I/O-bound kinds: many at once in one worker process, each in a thread."""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from django.db import connections

from jobs.models import Job
from jobs.registry import UnknownKind, find, kinds

MOST = 1024
"""Threads of a process; how many are really started is what the kinds allow."""

Execute = Callable[[Job], None]


class Threads:
    """What runs beside the main thread. All but the bodies of its threads is called by the main thread alone."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self._pool = ThreadPoolExecutor(max_workers=MOST, thread_name_prefix="job")
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
        self._pool.submit(self._run, job)

    def wait(self, seconds: float) -> None:
        """Until a job has ended, or so many seconds have passed."""
        with self._ended:
            if self.busy:
                self._ended.wait(seconds)

    def _run(self, job: Job) -> None:
        try:
            self._execute(job)
        finally:
            connections.close_all()
            with self._ended:
                self._running[job.kind] -= 1
                self._ended.notify_all()


def threads_of(kind: str) -> int:
    try:
        return find(kind).threads
    except UnknownKind:
        return 0
