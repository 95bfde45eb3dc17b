"""A worker process: claim a job, run its handler, record the outcome, and again until it is told to stop."""

import signal
import time
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any, Protocol

import structlog
from django.db import DatabaseError, InterfaceError, close_old_connections, connections

from jobs import outcome, plain
from jobs.errors import LeaseLost
from jobs.heartbeat import Heartbeat
from jobs.interrupt import Abandoned, Cancelled, Interruptible, Stopped
from jobs.models import Job
from jobs.place import STUCK_AFTER, Place
from jobs.registry import find
from jobs.rescue import rescue
from jobs.run import Run

log = structlog.get_logger(__name__)

OUTAGE_PAUSE = 1.0
"""Seconds between two tries while the database is away."""


class Broker(Protocol):
    """What a worker needs of a broker; jobs.brokers has them."""

    def claim(self, worker: str, limit: int = 1) -> list[Job]: ...
    def dequeue(self) -> list[tuple[Any, str]] | None: ...


class Worker:
    """One per process, in its main thread."""

    def __init__(self, place: Place, broker: Broker) -> None:
        self.place = place
        self.name = place.name
        self.broker = broker
        self.stopping = False
        self.main = Interruptible()
        self.heartbeat = Heartbeat(self.main, place)
        signal.signal(signal.SIGTERM, self._stop_claiming)
        signal.signal(signal.SIGUSR1, self._stop_now)

    def run(self) -> None:
        """Work until SIGTERM; a database or broker that is away is waited for."""
        self.heartbeat.start()
        log.info("worker_started", worker=self.name)
        while not self.stopping:
            try:
                self._take_over()
                self.turn()
            except (DatabaseError, InterfaceError, OSError):
                log.warning("worker_cannot_claim", worker=self.name, exc_info=True)
                self._wait_for_the_database()
        connections.close_all()
        log.info("worker_stopped", worker=self.name)

    def turn(self) -> None:
        """Run one job, or else what django-q has; the broker waits a moment when there is neither."""
        jobs = self.broker.claim(self.name)
        for job in jobs:
            self.execute(job)
        if not jobs:
            for receipt, package in self.broker.dequeue() or ():
                plain.run(self.broker, receipt, package)

    def execute(self, job: Job) -> None:
        """The whole of one attempt: perform, then record; nothing that a handler does gets past this."""
        with structlog.contextvars.bound_contextvars(
            job_id=str(job.pk), kind=job.kind, attempt=job.attempt, request_id=job.request_id
        ):
            log.info("job_started", worker=self.name)
            try:
                conclude = partial(job.succeed, self._perform(job))
            except Abandoned:
                log.warning("job_abandoned")
            except Stopped:
                self._record(job.hand_back)
            except Cancelled:
                self._record(job.give_up)
            except BaseException as error:
                self._record(partial(outcome.conclude_failure, job, error))
            else:
                self._record(conclude)

    def _perform(self, job: Job) -> object:
        kind = find(job.kind)
        handler = partial(kind.handler, Run(job), **kind.arguments(job.params))
        self.place.expect_done_within(job.timeout + STUCK_AFTER)
        try:
            with self.heartbeat.keeping(job):
                return outcome.storable(self.main.call(handler, job.timeout))
        finally:
            self.place.expect_idle()

    def _record(self, verb: Callable[[], None]) -> None:
        """Write the outcome, however long the database is away; a lost lease means that it is not ours to write."""
        while True:
            try:
                verb()
            except LeaseLost:
                log.warning("job_lease_lost")
            except (DatabaseError, InterfaceError):
                log.warning("job_outcome_waits_for_database", exc_info=True)
                self._wait_for_the_database()
                continue
            return

    def _take_over(self) -> None:
        """Put back at once what the process that died here before was running; its lease need not expire."""
        if self.place.predecessor:
            rescue(Job.objects.running_on(self.place.predecessor))
            self.place.predecessor = ""

    def _wait_for_the_database(self) -> None:
        time.sleep(OUTAGE_PAUSE)
        close_old_connections()

    def _stop_claiming(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _stop_now(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True
        self.main.stop()
