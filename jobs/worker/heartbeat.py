"""The thread that renews the leases of running jobs, writes their progress, and learns of cancellations."""

import threading
import time
from collections.abc import Callable

import structlog
from django.db import close_old_connections, connection, connections

from jobs.errors import LeaseLost
from jobs.models import Job
from jobs.models.lock_waits import limit_lock_waits
from jobs.worker.buffer import WorkBuffer
from jobs.worker.interrupt import Abandoned, Cancelled
from jobs.worker.running import Running, RunningAttempt

log = structlog.get_logger(__name__)

BEAT = 3.0
"""Seconds between two renewals: a tenth of the lease, and half of the time in which a cancellation is obeyed."""
AFTER_FAILURE = 1.0
"""Seconds until a renewal that failed is tried again."""
LOOK = 0.2
"""Seconds between two looks: no progress report waits longer, and a job that is seen twice is not short."""


class Heartbeat(threading.Thread):
    """A database that is away only delays it; whether a lease still holds is decided by the database's clock.

    It looks by itself, so that a short job costs nothing here.
    """

    def __init__(self, worker: str, running: Running, buffer: WorkBuffer) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._worker = worker
        self._running = running
        self._buffer = buffer
        self._beat_at = time.monotonic() + BEAT
        self._limited: object = None
        self._over = threading.Event()

    def run(self) -> None:
        try:
            while not self._over.wait(LOOK):
                self.look()
        finally:
            connections.close_all()

    def stop(self) -> None:
        """Ends the thread after its present look."""
        self._over.set()

    def look(self) -> None:
        for step in (self._flush_beside_long_jobs, self._write_progress, self._renew):
            self._attempt(step)

    def _attempt(self, step: Callable[[], None]) -> None:
        try:
            close_old_connections()
            step()
        except Exception:  # the database is away, or something is wrong with one of the jobs
            log.warning(
                "heartbeat_failed",
                step=step.__name__.lstrip("_"),
                running=[str(attempt.job.pk) for attempt in self._running],
                results_of=self._buffer.unwritten,
                exc_info=True,
            )

    def _limit_lock_waits(self) -> None:
        """Before a step writes: a row that somebody has locked must not delay the renewals of the others."""
        connection.ensure_connection()
        if connection.connection is not self._limited:
            limit_lock_waits(connection)
            self._limited = connection.connection

    def _flush_beside_long_jobs(self) -> None:
        """What is buffered beside a job that turns out to be long does not wait for its end."""
        long = False
        for attempt in self._running:
            attempt.looks += 1
            long = long or attempt.looks > 1
        if long and not self._buffer.empty:
            self._limit_lock_waits()
            self._buffer.flush()

    def _write_progress(self) -> None:
        changed = [attempt for attempt in self._running if attempt.job.progress is not attempt.shown]
        if not changed:
            return
        self._limit_lock_waits()
        shown = [(attempt, attempt.job.progress) for attempt in changed]
        Job.objects.show_progress(self._worker, [attempt.job for attempt in changed])
        for attempt, progress in shown:
            attempt.shown = progress

    def _renew(self) -> None:
        attempts = {attempt.job.pk: attempt for attempt in self._running}
        if time.monotonic() < self._beat_at or not attempts:
            return
        self._beat_at = time.monotonic() + AFTER_FAILURE
        self._limit_lock_waits()
        renewal = Job.objects.renew_leases(self._worker, [attempt.job for attempt in attempts.values()])
        self._beat_at = time.monotonic() + BEAT
        for pk in renewal.cancelled:
            self._running.interrupt(attempts[pk], Cancelled("its cancellation was asked for"))
        for pk in renewal.lost:
            self._abandon(attempts[pk])

    def _abandon(self, attempt: RunningAttempt) -> None:
        self._running.interrupt(attempt, Abandoned(str(LeaseLost(attempt.job.pk, attempt.job.attempt))))
