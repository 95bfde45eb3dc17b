"""What both sorts of worker processes share: start-up, jobs of a dead predecessor, outages, recycling, shutdown."""

import resource
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from multiprocessing import current_process
from types import FrameType
from typing import Protocol

import structlog
from django.db import DatabaseError, InterfaceError, connections
from django_q.conf import Conf
from django_q.signals import post_spawn

from jobs import tracing
from jobs.models import Job
from jobs.worker.attempts.attempt import Attempts, wait_for_database
from jobs.worker.attempts.buffer import WorkBuffer
from jobs.worker.attempts.running_attempts import RunningAttempts
from jobs.worker.heartbeat import Heartbeat
from jobs.worker.rescue import take_over
from jobs.worker.timekeeper import Timekeeper
from jobs.worker.watchdog import Predecessor, Watchdog
from rest import outage

log = structlog.get_logger(__name__)


class ProcessHandle(Protocol):
    """What a worker knows of its process: implemented by jobs.cluster.process.Process."""

    name: str
    predecessor: Predecessor | None
    watchdog: Watchdog

    def forget_predecessor(self) -> None: ...


class WorkerProcess(ABC):
    """Subclasses define a turn of the main loop, which runs in the main thread."""

    def __init__(self, handle: ProcessHandle) -> None:
        self.handle = handle
        self.name = handle.name
        self.stopping = False
        self.until_idle = False
        self.buffer = WorkBuffer(self.name)
        self.running = RunningAttempts(handle.watchdog)
        self.attempts = Attempts(self.name, self.running, self.buffer)
        self.heartbeat = Heartbeat(self.name, self.running, self.buffer, self.waiting_jobs)
        self.timekeeper = Timekeeper(self.running, handle.watchdog, self.stop_now)
        signal.signal(signal.SIGTERM, self._on_sigterm)
        signal.signal(signal.SIGUSR1, self._on_sigusr1)

    def run(self) -> None:
        """Work until SIGTERM, or until recycle or max_rss is reached. Waits for a missing database or broker."""
        self.timekeeper.start()
        self.heartbeat.start()
        log.info("worker_started", worker=self.name)
        post_spawn.send_robust(sender="django_q", proc_name=current_process().name)
        while not self.stopping:
            try:
                if self.handle.predecessor:
                    take_over(self.handle.predecessor)
                    self.handle.forget_predecessor()
                self.turn()
                self.stopping = self.stopping or should_recycle(self.run_count)
            except (DatabaseError, InterfaceError, OSError) as error:
                if not outage.note(error):
                    log.warning("worker_cannot_claim", worker=self.name, exc_info=True)
                wait_for_database()
                while outage.database.pause() and not self.stopping:
                    wait_for_database()
        self.drain()
        self.heartbeat.stop()
        self.attempts.record(self.buffer.flush)  # what the last check of the heartbeat could not write
        self.timekeeper.stop()
        connections.close_all()
        tracing.stop()
        log.info("worker_stopped", worker=self.name)

    @property
    def run_count(self) -> int:
        """How many jobs and django-q tasks this process has run."""
        return self.attempts.count

    def idle(self, wait: Callable[[], None]) -> None:
        """Nothing is due: wait for work, or stop if until_idle is set (qcluster --run-once)."""
        if self.until_idle:
            self.stopping = True
        else:
            wait()

    def waiting_jobs(self) -> Sequence[Job]:
        """Claimed jobs that wait for a thread. Called in the heartbeat's thread."""
        return ()

    @abstractmethod
    def turn(self) -> None:
        """Claim what can start now and run it; wait for work if there is none."""

    @abstractmethod
    def drain(self) -> None:
        """After SIGTERM: let running jobs end, then write or hand back what is buffered."""

    def stop_now(self) -> None:
        """Interrupt what still runs; it is handed back. May be called in any thread."""
        self.stopping = True

    def _on_sigterm(self, signum: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _on_sigusr1(self, signum: int, frame: FrameType | None) -> None:
        self.stop_now()


def should_recycle(run_count: int) -> bool:
    """True if a fresh process should replace one that has run this many jobs and tasks.

    Reads django-q's settings: recycle (a number of jobs and tasks; its default of 500 does not apply here) and max_rss
    (KiB of memory). Unset or 0: no limit.
    """
    recycle, max_rss = Conf.conf.get("recycle"), Conf.conf.get("max_rss")
    if recycle and run_count >= recycle:
        return True
    return bool(max_rss) and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >= max_rss
