"""The thread beside a running handler: it renews the lease, and stops the handler that has lost it or is cancelled."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connections

from jobs.errors import LeaseLost
from jobs.interrupt import Abandoned, Cancelled, Interruptible
from jobs.models import Job
from jobs.place import STUCK_AFTER, Place

log = structlog.get_logger(__name__)

BEAT = 3.0
"""Seconds between two renewals: a tenth of the lease, and half of the time in which a cancellation is obeyed."""


class Heartbeat(threading.Thread):
    """Beats while a job is held; a database that is away only delays it, the lease is the database's to judge."""

    def __init__(self, main: Interruptible, place: Place) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._main = main
        self._place = place
        self._job: Job | None = None
        self._changed = threading.Condition()

    @contextmanager
    def keeping(self, job: Job) -> Iterator[None]:
        """Renew the job's lease for as long as the body runs."""
        self._hold(job)
        try:
            yield
        finally:
            self._hold(None)

    def run(self) -> None:
        try:
            while True:
                self._beat(self._held_for_a_beat())
        finally:
            connections.close_all()

    def _hold(self, job: Job | None) -> None:
        with self._changed:
            self._job = job
            self._changed.notify()

    def _held_for_a_beat(self) -> Job:
        """Wait until one job has been held for a whole beat; short jobs never cost a renewal."""
        with self._changed:
            while True:
                job = self._job
                if not self._changed.wait(timeout=BEAT if job else None) and job is not None:
                    return job

    def _beat(self, job: Job) -> None:
        try:
            close_old_connections()
            job.renew_lease()
        except LeaseLost as error:
            self._stop(job, Abandoned(str(error)))
        except (DatabaseError, InterfaceError):
            log.warning("heartbeat_failed", job_id=str(job.pk), attempt=job.attempt, exc_info=True)
        else:
            if job.cancel_requested:
                self._stop(job, Cancelled("its cancellation was asked for"))

    def _stop(self, job: Job, reason: Abandoned | Cancelled) -> None:
        with self._changed:
            if self._job is job:
                self._place.expect_done_within(STUCK_AFTER)
                self._main.interrupt(reason)
