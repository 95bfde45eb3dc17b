"""One attempt at a job: start, time out, perform, normalise, record."""

import time
from collections.abc import Callable
from functools import partial

import structlog
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
    close_old_connections,
)

from jobs.errors import LeaseLost
from jobs.models import Job
from jobs.registry import find
from jobs.run import Run
from jobs.worker import outcome
from jobs.worker.buffer import WorkBuffer
from jobs.worker.interrupt import Abandoned, Cancelled, Interruptible, Stopped
from jobs.worker.replica_reads import reading_from
from jobs.worker.running import Running
from jobs.worker.transactions import connections_left_clean

log = structlog.get_logger(__name__)

REFUSALS = (DataError, IntegrityError, ProgrammingError, NotSupportedError)
"""What a database says that is there: to try again would be in vain."""
OUTAGE_PAUSE = 1.0
"""Seconds between two tries while the database is away."""


class Attempts:
    """What all attempts of a worker process have in common."""

    def __init__(self, worker: str, running: Running, buffer: WorkBuffer) -> None:
        self.worker = worker
        self.running = running
        self.buffer = buffer
        self.count = 0

    def run(self, job: Job, thread: Interruptible, slot: int) -> None:
        """Run a claimed job in the calling thread and record its outcome. Raises nothing that a handler raises."""
        self.count += 1
        with structlog.contextvars.bound_contextvars(
            job_id=str(job.pk), kind=job.kind, attempt=job.attempt, request_id=job.request_id
        ):
            try:
                result = self._perform(job, thread, slot)
            except Abandoned:
                log.warning("job_abandoned")
            except Stopped:
                self.record(job.hand_back)
            except Cancelled:
                self.record(job.give_up)
            except BaseException as error:
                self.record(partial(outcome.conclude_failure, job, error))
            else:
                self.buffer.add_result(job, result)

    def _perform(self, job: Job, thread: Interruptible, slot: int) -> object:
        with self.running.attempt(job, thread, slot), connections_left_clean(), Run(job, thread) as run:
            log.info("job_started", worker=self.worker)
            kind = find(job.kind)
            arguments = kind.arguments(job.params)
            with reading_from(kind.reads, job, partial(kind.handler, run, **arguments)) as handler:
                return outcome.storable(thread.call(handler, job.timeout))

    def record(self, write: Callable[[], None]) -> None:
        """Write to the queue, however long the database is away; a lost lease means that it is not ours to write."""
        while True:
            try:
                write()
            except LeaseLost:
                log.warning("job_lease_lost")
            except REFUSALS:
                log.exception("job_outcome_refused")  # the lease will end, and the attempt with it
            except (DatabaseError, InterfaceError):
                log.warning("job_outcome_waits_for_database", results_of=self.buffer.unwritten, exc_info=True)
                wait_for_database()
                continue
            return


def wait_for_database() -> None:
    time.sleep(OUTAGE_PAUSE)
    close_old_connections()
