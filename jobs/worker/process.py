"""What both sorts of worker processes have in common: their start, a predecessor's jobs, outages, and their stop."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from multiprocessing import current_process
from types import FrameType
from typing import Protocol

import structlog
from django.db import DatabaseError, InterfaceError, connections
from django_q.signals import post_spawn

from jobs.worker import recycling
from jobs.worker.attempt import Attempts, wait_for_database
from jobs.worker.buffer import WorkBuffer
from jobs.worker.heartbeat import Heartbeat
from jobs.worker.running import Running
from jobs.worker.take_over import take_over
from jobs.worker.timekeeper import Timekeeper
from jobs.worker.watchdog import Predecessor, Watchdog

log = structlog.get_logger(__name__)


class Place(Protocol):
    """A process's place in its cluster; jobs.cluster.process.Process is the real one."""

    name: str
    predecessor: Predecessor | None
    watchdog: Watchdog


class WorkerProcess(ABC):
    """The subclasses say what a turn is. Everything but the handlers in threads happens in the main thread."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.name = place.name
        self.stopping = False
        self.until_idle = False
        self.buffer = WorkBuffer(self.name)
        self.running = Running(place.watchdog)
        self.attempts = Attempts(self.name, self.running, self.buffer)
        self.heartbeat = Heartbeat(self.name, self.running, self.buffer)
        self.timekeeper = Timekeeper(self.running, place.watchdog, self.stop_now)
        signal.signal(signal.SIGTERM, self._stop_claiming)
        signal.signal(signal.SIGUSR1, self._stop_now)

    def run(self) -> None:
        """Work until SIGTERM, or until recycle or max_rss; a database or broker that is away is waited for."""
        self.timekeeper.start()
        self.heartbeat.start()
        log.info("worker_started", worker=self.name)
        post_spawn.send_robust(sender="django_q", proc_name=current_process().name)
        while not self.stopping:
            try:
                self._take_over()
                self.turn()
                self.stopping = self.stopping or recycling.is_worn(self.done)
            except (DatabaseError, InterfaceError, OSError):
                log.warning("worker_cannot_claim", worker=self.name, exc_info=True)
                wait_for_database()
        self.finish()
        self.heartbeat.stop()
        self.timekeeper.stop()
        connections.close_all()
        log.info("worker_stopped", worker=self.name)

    @property
    def done(self) -> int:
        """How many jobs and plain tasks this process has run."""
        return self.attempts.count

    def idle(self, wait: Callable[[], None]) -> None:
        """There is nothing to do: wait for work, or end if that is all (qcluster --run-once)."""
        if self.until_idle:
            self.stopping = True
        else:
            wait()

    @abstractmethod
    def turn(self) -> None:
        """Claim what can start, run it, and wait a moment if there is nothing."""

    @abstractmethod
    def finish(self) -> None:
        """After SIGTERM: end what runs, and write or hand back what is buffered."""

    def stop_now(self) -> None:
        """Interrupt what still runs, which is then handed back. Called in any thread."""
        self.stopping = True

    def _take_over(self) -> None:
        if self.place.predecessor:
            take_over(self.place.predecessor)
            self.place.predecessor = None

    def _stop_claiming(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _stop_now(self, signum: int, frame: FrameType | None) -> None:
        self.stop_now()
