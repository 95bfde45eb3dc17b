"""What a worker has claimed and not started, and the results that it has not written yet."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from django.db import DataError

from jobs.errors import LeaseLost
from jobs.models import Job
from jobs.models.leases import LEASE
from jobs.worker.outcome import UnstorableResult, conclude_failure

MOST_RESULTS = 100
FRESH = LEASE.total_seconds() / 2
"""Seconds for which a claimed job may be started without a look at its lease, which nobody renews until then."""

Success = tuple[Job, object]
"""A job and its result."""


class WorkBuffer:
    """Thread-safe: the worker and its heartbeat use it. What is flushed comes back if the database refuses it."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self._lock = threading.Lock()
        self._claimed: deque[Job] = deque()
        self._claimed_at = 0.0
        self._results: list[Success] = []

    def add_claimed(self, jobs: Iterable[Job], since: float) -> None:
        """since: time.monotonic() before the claim, from which on the leases run."""
        with self._lock:
            self._claimed.extend(jobs)
            self._claimed_at = since

    def next_claimed(self) -> Job | None:
        """The job to start now; None also if the claim is so long ago that the leases may be lost."""
        with self._lock:
            if not self._claimed or time.monotonic() - self._claimed_at > FRESH:
                return None
            return self._claimed.popleft()

    def add_result(self, job: Job, result: object) -> None:
        with self._lock:
            self._results.append((job, result))

    def write_results(self) -> None:
        with self._take_results() as results:
            if not results:
                return
            try:
                Job.objects.succeed_many(self.worker, results)
            except DataError:
                for job, result in results:
                    _write_alone(job, result)

    def flush(self) -> None:
        """Write the results and hand back the jobs that were not started."""
        self.write_results()
        with self._take_claimed() as claimed:
            if claimed:
                Job.objects.hand_back_many(self.worker, claimed)

    @property
    def unwritten(self) -> list[str]:
        """The ids of the jobs whose results are not written yet."""
        return [str(job.pk) for job, _ in self._results]

    @property
    def full(self) -> bool:
        """True if there are as many results as are written at once."""
        return len(self._results) >= MOST_RESULTS

    @property
    def empty(self) -> bool:
        return not self._claimed and not self._results

    @property
    def has_claimed(self) -> bool:
        return bool(self._claimed)

    @contextmanager
    def _take_results(self) -> Iterator[list[Success]]:
        with self._lock:
            taken, self._results = self._results, []
        try:
            yield taken
        except BaseException:
            with self._lock:
                self._results = taken + self._results
            raise

    @contextmanager
    def _take_claimed(self) -> Iterator[list[Job]]:
        with self._lock:
            taken = list(self._claimed)
            self._claimed.clear()
        try:
            yield taken
        except BaseException:
            with self._lock:
                self._claimed.extendleft(reversed(taken))
            raise


def _write_alone(job: Job, result: object) -> None:
    """A result that the database refuses fails its own job and no other."""
    with suppress(LeaseLost):
        try:
            job.succeed(result)
        except DataError as error:
            conclude_failure(job, UnstorableResult(f"the database refuses the result: {error}"))
