"""A worker's buffer: jobs that are claimed but not started, and results that are not written yet."""

import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from django.db import OperationalError

from jobs.models import Job
from jobs.models.queue.claim import LEASE
from jobs.worker.attempts.batches import Returned
from jobs.worker.attempts.outcome import record_results

MAX_WRITE_DELAY = 0.02
"""Seconds that a result may wait in the buffer so that several are written together."""
MAX_RESULTS = 250
"""Results that are written at once."""
START_WITHIN = LEASE.total_seconds() / 2
"""Seconds after its claim in which a job may start without a check of its lease: nobody renews it before the start."""


class WorkBuffer:
    """Thread-safe: used by the worker and its heartbeat. What cannot be written is put back."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self._lock = threading.Lock()
        self._claimed: deque[Job] = deque()
        self._claimed_at = 0.0
        self._first_result_at = 0.0
        self._results: list[Returned] = []

    def add_claimed(self, jobs: Iterable[Job], since: float) -> None:
        """since: time.monotonic() just before the claim; no lease began earlier."""
        with self._lock:
            self._claimed.extend(jobs)
            self._claimed_at = since

    def next_claimed(self) -> Job | None:
        """The next job to start. None if there is none, or if the claim is so old that leases may have expired."""
        with self._lock:
            if not self._claimed or time.monotonic() - self._claimed_at > START_WITHIN:
                return None
            return self._claimed.popleft()

    def add_result(self, job: Job, result: object) -> None:
        with self._lock:
            if not self._results:
                self._first_result_at = time.monotonic()
            self._results.append((job, result))

    def write_results(self) -> None:
        """Raises OperationalError if another transaction keeps rows locked: the other results are written.

        No claimed job starts before those are written, too, so the claimed jobs are handed back.
        """
        with self._take_results() as results:
            if results:
                results[:] = record_results(self.worker, results)
            if results:
                self._hand_back_claimed()
                raise OperationalError("rows of finished jobs are locked by another transaction")

    def flush(self) -> None:
        """Write the results, and hand back the jobs that were not started."""
        self.write_results()
        self._hand_back_claimed()

    def _hand_back_claimed(self) -> None:
        with self._take_claimed() as claimed:
            if claimed:
                Job.objects.hand_back_many(self.worker, claimed)

    @property
    def unwritten_job_ids(self) -> list[str]:
        """Of the jobs whose results are not written yet."""
        return [str(job.pk) for job, _ in self._results]

    @property
    def overdue(self) -> bool:
        """True if a result has waited for MAX_WRITE_DELAY."""
        return bool(self._results) and time.monotonic() - self._first_result_at >= MAX_WRITE_DELAY

    @property
    def full(self) -> bool:
        """True if there are as many results as are written at once."""
        return len(self._results) >= MAX_RESULTS

    @property
    def empty(self) -> bool:
        return not self._claimed and not self._results

    @property
    def has_claimed(self) -> bool:
        return bool(self._claimed)

    @contextmanager
    def _take_results(self) -> Iterator[list[Returned]]:
        """Restored if the body raises."""
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
        """Restored if the body raises."""
        with self._lock:
            taken = list(self._claimed)
            self._claimed.clear()
        try:
            yield taken
        except BaseException:
            with self._lock:
                self._claimed.extendleft(reversed(taken))
            raise
