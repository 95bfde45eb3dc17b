"""What a worker has in hand: jobs claimed and not begun, and results not yet written. Shared with the heartbeat."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from django.db import DataError

from jobs.errors import LeaseLost
from jobs.models import Job
from jobs.outcome import UnstorableResult, conclude_failure

MOST_RESULTS = 100

Success = tuple[Job, object]
"""A job and its result."""


class Hand:
    """Both threads may take from it; what is taken is the taker's alone, and comes back if it cannot be dealt with."""

    def __init__(self, worker: str) -> None:
        self.worker = worker
        self._lock = threading.Lock()
        self._claimed: deque[Job] = deque()
        self._results: list[Success] = []

    def claim(self, jobs: Iterable[Job]) -> None:
        with self._lock:
            self._claimed.extend(jobs)

    def next(self) -> Job | None:
        """The job to begin now."""
        with self._lock:
            return self._claimed.popleft() if self._claimed else None

    def succeed(self, job: Job, result: object) -> None:
        with self._lock:
            self._results.append((job, result))

    def write(self) -> None:
        """Record the results that are in hand."""
        with self._taking_results() as results:
            if not results:
                return
            try:
                Job.objects.succeed_many(self.worker, results)
            except DataError:
                for job, result in results:
                    _write_alone(job, result)

    def put_down(self) -> None:
        """Record the results and hand back what has not begun."""
        self.write()
        with self._taking_claimed() as claimed:
            if claimed:
                Job.objects.hand_back_many(self.worker, claimed)

    @property
    def oldest_result(self) -> Success | None:
        """The one that has waited longest to be written."""
        return next(iter(self._results), None)

    @property
    def unwritten(self) -> list[str]:
        """The ids of the jobs whose results are in hand."""
        return [str(job.pk) for job, _ in self._results]

    @property
    def full(self) -> bool:
        """Whether as many results are in hand as are written at once."""
        return len(self._results) >= MOST_RESULTS

    @property
    def empty(self) -> bool:
        return not self._claimed

    @contextmanager
    def _taking_results(self) -> Iterator[list[Success]]:
        with self._lock:
            taken, self._results = self._results, []
        try:
            yield taken
        except BaseException:
            with self._lock:
                self._results = taken + self._results
            raise

    @contextmanager
    def _taking_claimed(self) -> Iterator[list[Job]]:
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
    """So that a result which the database refuses fails its own job and no other."""
    with suppress(LeaseLost):
        try:
            job.succeed(result)
        except DataError as error:
            conclude_failure(job, UnstorableResult(f"the database refuses the result: {error}"))
