"""One attempt at a claimed job, as one pipeline: start, perform within the timeout, normalise, record."""

import logging
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
    connection,
)
from structlog.contextvars import bind_contextvars, reset_contextvars

from jobs import tracing
from jobs.errors import LeaseLost
from jobs.models import Job
from jobs.registry import find_kind
from jobs.run import Run
from jobs.worker.attempts.batches import Arguments
from jobs.worker.attempts.buffer import WorkBuffer
from jobs.worker.attempts.connections import CleanConnections
from jobs.worker.attempts.interrupt import Abandoned, Cancelled, Interruptible, Stopped
from jobs.worker.attempts.outcome import normalise, record_failure
from jobs.worker.attempts.replica_reads import route_reads
from jobs.worker.attempts.running_attempts import RunningAttempts
from rest import outage

log = structlog.get_logger(__name__)

REJECTIONS = (DataError, IntegrityError, ProgrammingError, NotSupportedError)
"""Errors of a database that is available: the same statement would fail again."""
LOCK_PAUSE = 1.0
"""Seconds between two tries while the database is there and refuses, for a lock that another one holds."""


class Attempts:
    """What all attempts of a worker process share."""

    def __init__(self, worker: str, running: RunningAttempts, buffer: WorkBuffer) -> None:
        self.worker = worker
        self.running = running
        self.buffer = buffer
        self.count = 0
        self._logs_starts = log.isEnabledFor(logging.DEBUG)

    def run(self, job: Job, thread: Interruptible, slot: int, arguments: Arguments | None = None) -> None:
        """Run a claimed job in the calling thread and record its outcome. Raises nothing that a handler raises.

        arguments: the handler's, if they were prepared (jobs/worker/attempts/batches.py).
        """
        self.count += 1
        log_context = bind_contextvars(
            job_id=str(job.pk), kind=job.kind, attempt=job.attempt, request_id=job.request_id
        )
        try:
            with (
                self.running.attempt(job, thread, slot),
                CleanConnections() as databases,
                tracing.attempt_span(job),
                Run(job, thread) as run,
            ):
                if self._logs_starts:
                    log.debug("job_started", worker=self.worker)
                kind = find_kind(job.kind)
                if arguments is None:
                    arguments = kind.handler_arguments(job.params)
                handler = partial(kind.handler, run, **arguments)
                with route_reads(kind.reads, job, handler) as routed_handler:
                    returned = thread.call(routed_handler, job.timeout, databases)
                    result = returned if kind.conclude else normalise(returned)
        except Abandoned:
            log.warning("job_abandoned")
        except Stopped:
            self.record(job.hand_back)
        except Cancelled:
            self.record(job.finish_cancelled)
        except BaseException as error:
            self.record(partial(record_failure, job, error))
        else:
            self.buffer.add_result(job, result)
        finally:
            reset_contextvars(**log_context)

    def record(self, write: Callable[[], None]) -> None:
        """Call write until the database is available. Nothing is written if the lease is lost."""
        while True:
            try:
                write()
            except LeaseLost:
                log.warning("job_lease_lost")
            except REJECTIONS:
                log.exception("job_outcome_refused")  # the lease expires, which ends the attempt
            except (DatabaseError, InterfaceError) as error:
                if not outage.database.note(error):
                    log.warning("job_outcome_waits", results_of=self.buffer.unwritten_job_ids, exc_info=True)
                wait_for_database()
                continue
            return


def wait_for_database() -> None:
    """Wait, then ask, so that this process knows of the end of an outage even if it has nothing else to write.

    Also on a connection that the outage has not cut: perhaps only others could not connect.
    """
    time.sleep(outage.database.pause() or LOCK_PAUSE)
    close_old_connections()
    try:
        connection.ensure_connection()
    except (DatabaseError, InterfaceError) as error:
        outage.database.note(error)
        return
    if connection.is_usable():
        outage.database.end()
    else:
        connection.close()
