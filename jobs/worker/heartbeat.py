"""The thread that renews the leases of running jobs, writes their progress, and learns of cancellations."""

import threading
import time
from collections.abc import Callable, Sequence

import structlog
from django.db import close_old_connections, connection, connections

from jobs.errors import LeaseLost
from jobs.models import Job
from jobs.models.queue.lock_waits import limit_lock_waits
from jobs.worker.attempts.buffer import WorkBuffer
from jobs.worker.attempts.interrupt import Abandoned, Cancelled
from jobs.worker.attempts.running_attempts import RunningAttempts
from rest import outage

log = structlog.get_logger(__name__)

RENEW_EVERY = 3.0
"""Seconds between renewals: a tenth of the lease, and half of the time promised for a cancellation."""
RETRY_RENEWAL_AFTER = 1.0
"""Seconds until a failed renewal is repeated."""
CHECK_EVERY = 0.08
"""Seconds between checks. A job seen by two checks is not short: its progress is written from then on, so that a report
reaches watchers within 0.2 s."""


class Heartbeat(threading.Thread):
    """Polls the running attempts, so that starting and ending a short job costs nothing here.

    waiting_jobs: claimed jobs that wait for a thread. Their leases are renewed, too; whether they still hold is checked
    when they start.

    A database outage only delays it: whether a lease still holds is decided by the database's clock.
    """

    def __init__(
        self,
        worker: str,
        running: RunningAttempts,
        buffer: WorkBuffer,
        waiting_jobs: Callable[[], Sequence[Job]] = list,
    ) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._worker = worker
        self._running = running
        self._buffer = buffer
        self._waiting_jobs = waiting_jobs
        self._renew_at = time.monotonic() + RENEW_EVERY
        self._limited_connection: object = None
        self._stop_requested = threading.Event()

    def run(self) -> None:
        try:
            while not self._stop_requested.wait(max(CHECK_EVERY, outage.database.pause())):
                self.check()
        finally:
            connections.close_all()

    def stop(self) -> None:
        """Returns after its current check: what the check took from the buffer is then written or put back."""
        self._stop_requested.set()
        if self.is_alive():
            self.join()

    def check(self) -> None:
        """Do each step, whether or not the one before it fails."""
        for step in (self._flush_beside_long_jobs, self._write_progress, self._renew):
            self._try(step)

    def _try(self, step: Callable[[], None]) -> None:
        try:
            close_old_connections()
            step()
        except Exception as error:
            if outage.database.note(error):
                return
            # Another transaction holds a lock, or one of the jobs is faulty.
            log.warning(
                "heartbeat_failed",
                step=step.__name__.lstrip("_"),
                running=[str(attempt.job.pk) for attempt in self._running],
                results_of=self._buffer.unwritten_job_ids,
                exc_info=True,
            )

    def _flush_beside_long_jobs(self) -> None:
        """Buffered jobs and results must not wait for the end of a job that turns out to be long."""
        long = False
        for attempt in self._running:
            attempt.checks += 1
            long = long or attempt.is_long
        if long and not self._buffer.empty:
            self._limit_lock_waits()
            self._buffer.flush()

    def _write_progress(self) -> None:
        """Not of short jobs: theirs is written with the outcome."""
        changed = [
            attempt
            for attempt in self._running
            if attempt.is_long and attempt.job.progress is not attempt.written_progress
        ]
        if not changed:
            return
        self._limit_lock_waits()
        written = [(attempt, attempt.job.progress) for attempt in changed]
        Job.objects.show_progress(self._worker, [attempt.job for attempt in changed])
        for attempt, progress in written:
            attempt.written_progress = progress

    def _renew(self) -> None:
        attempts = {attempt.job.pk: attempt for attempt in self._running}
        jobs = [*(attempt.job for attempt in attempts.values()), *self._waiting_jobs()]
        if time.monotonic() < self._renew_at or not jobs:
            return
        self._renew_at = time.monotonic() + RETRY_RENEWAL_AFTER
        self._limit_lock_waits()
        renewal = Job.objects.renew_leases(self._worker, jobs)
        self._renew_at = time.monotonic() + RENEW_EVERY
        for pk in renewal.cancelled & attempts.keys():
            self._running.interrupt(attempts[pk], Cancelled("its cancellation was asked for"))
        for pk in renewal.lost & attempts.keys():
            self._running.interrupt(attempts[pk], Abandoned(str(LeaseLost(pk, attempts[pk].job.attempt))))

    def _limit_lock_waits(self) -> None:
        """Called before a step writes: a row locked by somebody must not delay the renewal of the others."""
        connection.ensure_connection()
        if connection.connection is not self._limited_connection:
            limit_lock_waits(connection)
            self._limited_connection = connection.connection
