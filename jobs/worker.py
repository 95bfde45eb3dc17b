"""A worker process: claim a job, run its handler, record the outcome, and again until it is told to stop."""

import signal
import time
from collections.abc import Callable, Collection
from functools import partial
from types import FrameType
from typing import Any, Protocol

import structlog
from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    ProgrammingError,
    close_old_connections,
    connections,
)

from jobs import outcome, plain
from jobs.errors import LeaseLost
from jobs.hand import Hand
from jobs.heartbeat import Heartbeat
from jobs.interrupt import Abandoned, Cancelled, Interruptible, MainThread, OtherThread, Stopped
from jobs.models import Job
from jobs.pace import Pace
from jobs.place import STUCK_AFTER, Place
from jobs.queue import MayFollow
from jobs.reads import reading_from
from jobs.registry import find
from jobs.rescue import rescue
from jobs.run import Run
from jobs.threads import Threads, threads_of
from jobs.transactions import none_left_open

log = structlog.get_logger(__name__)

WRITE_WITHIN = 0.02
"""Seconds that a result waits at most for others to be written with."""
PLAIN_EVERY = 20
"""Turns with jobs between two looks at plain django-q tasks, so that jobs do not starve them."""
THREADS_PAUSE = 0.05
"""Seconds that the main thread waits for the end of a job in a thread before it looks for others to start."""
REFUSALS = (DataError, IntegrityError, ProgrammingError, NotSupportedError)
"""What a database says that is there: to try again would be in vain."""
OUTAGE_PAUSE = 1.0
"""Seconds between two tries while the database is away."""


class Broker(Protocol):
    """What a worker needs of a broker; jobs.brokers has them."""

    def claim(self, worker: str, limit: int, may_follow: MayFollow, without: Collection[str]) -> list[Job]: ...
    def wait(self) -> None: ...
    def dequeue(self) -> list[tuple[Any, str]] | None: ...


class Worker:
    """One per process, in its main thread."""

    def __init__(self, place: Place, broker: Broker) -> None:
        self.place = place
        self.name = place.name
        self.broker = broker
        self.stopping = False
        self.stop_now = False
        self.main = MainThread()
        self.hand = Hand(self.name)
        self.pace = Pace()
        self.turns = 0
        self.waited = False
        self.heartbeat = Heartbeat(self.hand, place)
        self.threads = Threads(lambda job: self.execute(job, OtherThread()))
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
        self._wait_for_threads()
        self.heartbeat.stop()
        connections.close_all()
        log.info("worker_stopped", worker=self.name)

    def turn(self) -> None:
        """Run what can be claimed, and now and then what django-q has; wait a moment when there is neither."""
        self.hand.claim(self._claimed())
        worked = not self.hand.empty
        self.waited = False
        self._empty_hand()
        self.turns += 1
        if not worked or self.turns % PLAIN_EVERY == 0:
            worked = self._run_plain() or worked
        if worked or self.stopping:
            return
        if self.threads.busy:
            self.threads.wait(THREADS_PAUSE)
        else:
            self._record(self.hand.put_down)  # of a thread that ended just now
            self.broker.wait()
            self.waited = True

    def _claimed(self) -> list[Job]:
        # Whoever has waited takes one, which is the quickest to claim; there can hardly be more.
        limit = 1 if self.waited else max(self.pace.limit, self.threads.most_free())
        return self.broker.claim(self.name, limit, self._may_follow, self.threads.full())

    def _may_follow(self, kind: str, delicate: bool, before: int) -> bool:
        if threads_of(kind):
            return before < self.threads.free(kind)
        # What is claimed and waits in hand is lost with this process, should the job before it kill that.
        return self.pace.is_short(kind) and not delicate

    def execute(self, job: Job, thread: Interruptible) -> None:
        """The whole of one attempt: perform, then record; nothing that a handler does gets past this."""
        with structlog.contextvars.bound_contextvars(
            job_id=str(job.pk), kind=job.kind, attempt=job.attempt, request_id=job.request_id
        ):
            log.info("job_started", worker=self.name)
            try:
                result = self._perform(job, thread)
            except Abandoned:
                log.warning("job_abandoned")
            except Stopped:
                self._record(job.hand_back)
            except Cancelled:
                self._record(job.give_up)
            except BaseException as error:
                self._record(partial(outcome.conclude_failure, job, error))
            else:
                self.hand.succeed(job, result)

    def _empty_hand(self) -> None:
        """Begin all that was claimed, one after the other; results of short jobs are written many at a time."""
        write_by = 0.0
        while not self.stopping and (job := self.hand.next()):
            began = time.monotonic()
            self._begin(job)
            now = time.monotonic()
            write_by = write_by or began + WRITE_WITHIN
            if now >= write_by or self.hand.full:
                self._record(self.hand.write)
                write_by = 0.0
        self._record(self.hand.put_down)

    def _begin(self, job: Job) -> None:
        if threads_of(job.kind):
            self.threads.start(job)
            return
        began = time.monotonic()
        self.execute(job, self.main)
        self.pace.measured(job.kind, time.monotonic() - began)

    def _run_plain(self) -> bool:
        messages = self.broker.dequeue() or []
        for receipt, package in messages:
            plain.run(self.broker, receipt, package)
        return bool(messages)

    def _perform(self, job: Job, thread: Interruptible) -> object:
        kind = find(job.kind)
        arguments = kind.arguments(job.params)
        if thread is self.main:
            self.place.expect_done_within(job.timeout + STUCK_AFTER)
        try:
            with (
                self.heartbeat.keeping(job, thread),
                none_left_open(),
                Run(job, thread) as run,
                reading_from(kind.reads, job, partial(kind.handler, run, **arguments)) as handler,
            ):
                return outcome.storable(thread.call(handler, job.timeout))
        finally:
            if thread is self.main:
                self.place.expect_idle()

    def _wait_for_threads(self) -> None:
        """What runs in threads has until the guard's second signal; then it is interrupted and handed back."""
        while self.threads.busy:
            if self.stop_now:
                self.heartbeat.stop_all(Stopped("its worker has to stop"))
            self.threads.wait(THREADS_PAUSE)
            self._record(self.hand.put_down)
        self._record(self.hand.put_down)  # the last may have ended after that

    def _record(self, verb: Callable[[], None]) -> None:
        """Write the outcome, however long the database is away; a lost lease means that it is not ours to write."""
        while True:
            try:
                verb()
            except LeaseLost:
                log.warning("job_lease_lost")
            except REFUSALS:
                log.exception("job_outcome_refused")  # the lease will end, and the attempt with it
            except (DatabaseError, InterfaceError):
                log.warning("job_outcome_waits_for_database", results_of=self.hand.unwritten, exc_info=True)
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
        self.stopping = self.stop_now = True
        self.main.stop()
