"""The threads beside running handlers: one renews leases, and stops who has lost one or is cancelled; the other keeps
time for those that run in threads."""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from django.db import close_old_connections, connections

from jobs.errors import LeaseLost
from jobs.hand import Hand, Success
from jobs.interrupt import Abandoned, Cancelled, Interrupted, Interruptible, OtherThread
from jobs.models import Job
from jobs.place import STUCK_AFTER, Place

log = structlog.get_logger(__name__)

BEAT = 3.0
"""Seconds between two renewals: a tenth of the lease, and half of the time in which a cancellation is obeyed."""
LOOK = 0.25
"""Seconds between two looks; a job that is still running at the second one is not short, whatever was expected."""


class Held:
    """A job that runs now, and the thread that runs it."""

    def __init__(self, job: Job, thread: Interruptible) -> None:
        self.job = job
        self.thread = thread
        self.seen = False
        self.beat_at = time.monotonic() + BEAT
        self.stuck_at = math.inf


class Heartbeat(threading.Thread):
    """Beats while jobs are held; a database that is away only delays it, the lease is the database's to judge.

    It looks instead of being told, so that a short job costs it nothing.
    """

    def __init__(self, hand: Hand, place: Place) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self._hand = hand
        self._place = place
        self._held: dict[int, Held] = {}
        self._lock = threading.Lock()
        self._waiting: Success | None = None
        self._over = threading.Event()

    @contextmanager
    def keeping(self, job: Job, thread: Interruptible) -> Iterator[None]:
        """Renew the job's lease for as long as the body runs."""
        held = Held(job, thread)
        with self._lock:
            self._held[id(held)] = held
        try:
            yield
        finally:
            with self._lock:
                del self._held[id(held)]

    def stop_all(self, reason: Interrupted) -> None:
        """Interrupt every job that runs in a thread of its own."""
        for held in self._now():
            if isinstance(held.thread, OtherThread):
                self._halt(held, reason)

    def run(self) -> None:
        # Apart, for a database that hangs would keep all time-outs waiting with one renewal.
        threading.Thread(target=self._keep_all_times, name="timekeeper", daemon=True).start()
        try:
            while not self._over.wait(LOOK):
                self._look()
        finally:
            connections.close_all()

    def stop(self) -> None:
        """Both threads end, each after its present look."""
        self._over.set()

    def _now(self) -> list[Held]:
        with self._lock:
            return list(self._held.values())

    def _look(self) -> None:
        try:
            self._write_what_waits()
        except Exception:  # as below
            log.warning("heartbeat_cannot_write", results_of=self._hand.unwritten, exc_info=True)
        for held in self._now():
            try:
                close_old_connections()
                self._look_at(held)
            except Exception:  # the database is away, or something is wrong with this job: the others are looked at
                log.warning("heartbeat_failed", job_id=str(held.job.pk), attempt=held.job.attempt, exc_info=True)

    def _write_what_waits(self) -> None:
        """Results that are in hand at a second look are a thread's, and the main one is busy with something long."""
        oldest = self._hand.oldest_result
        if oldest and oldest is self._waiting:
            close_old_connections()
            self._hand.write()
        self._waiting = self._hand.oldest_result

    def _look_at(self, held: Held) -> None:
        now = time.monotonic()
        if held.seen and not isinstance(held.thread, OtherThread):
            self._hand.put_down()  # this job is not short: what is beside it does not wait for its end
        held.seen = True
        if now >= held.beat_at:
            held.beat_at = now + BEAT
            self._beat(held)

    def _beat(self, held: Held) -> None:
        try:
            held.job.renew_lease()
        except LeaseLost as error:
            self._halt(held, Abandoned(str(error)))
        else:
            if held.job.cancel_requested:
                self._halt(held, Cancelled("its cancellation was asked for"))

    def _halt(self, held: Held, reason: Interrupted) -> None:
        with self._lock:
            if id(held) not in self._held:
                return
            if held.stuck_at == math.inf:
                held.stuck_at = time.monotonic() + STUCK_AFTER
                if not isinstance(held.thread, OtherThread):
                    self._place.expect_done_within(STUCK_AFTER)
            held.thread.interrupt(reason)

    def _keep_all_times(self) -> None:
        while not self._over.wait(LOOK):
            for held in self._now():
                if isinstance(held.thread, OtherThread):
                    self._keep_time(held, held.thread)

    def _keep_time(self, held: Held, thread: OtherThread) -> None:
        if thread.ring():
            held.stuck_at = min(held.stuck_at, time.monotonic() + STUCK_AFTER)
        with self._lock:
            # Who has come back meanwhile is not stuck, however late.
            if id(held) in self._held and time.monotonic() >= held.stuck_at:
                log.error("thread_stuck", job_id=str(held.job.pk), attempt=held.job.attempt)
                self._place.condemn()
