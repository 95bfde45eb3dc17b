"""The ordinary worker process: runs one job at a time in its main thread, and django-q tasks between jobs."""

import time
from collections.abc import Collection
from typing import Any, Protocol

from jobs.models import Job
from jobs.worker.attempts.buffer import MAX_WRITE_DELAY
from jobs.worker.attempts.interrupt import MainThread
from jobs.worker.django_q_tasks import DjangoQTasks
from jobs.worker.prefetch import Prefetch
from jobs.worker.process import ProcessHandle, WorkerProcess

DJANGO_Q_EVERY = 20
"""Turns with jobs after which the worker also polls for django-q tasks, so that jobs cannot starve them."""
MAIN_SLOT = 0


class Broker(Protocol):
    """What a worker needs of a broker; implemented in jobs.brokers."""

    def claim(self, worker: str, limit: int, short: Collection[str]) -> list[Job]: ...
    def wait(self) -> None: ...
    def dequeue(self) -> list[tuple[Any, str]] | None: ...
    def acknowledge(self, receipt: Any) -> None: ...
    def fail(self, receipt: Any) -> None: ...
    def release(self, receipt: Any) -> None: ...


class Worker(WorkerProcess):
    """Runs kinds without threads=."""

    def __init__(self, handle: ProcessHandle, broker: Broker) -> None:
        self.broker = broker
        self.main_thread = MainThread()
        self.prefetch = Prefetch()
        self.turns = 0
        self.waited = False
        super().__init__(handle)
        self.django_q_tasks = DjangoQTasks(broker, self.running, self.attempts.record)

    def turn(self) -> None:
        """Claim and run jobs, sometimes django-q tasks too; wait for work if there was none."""
        # After a wait there is rarely more than one job, and a claim of one is the fastest.
        limit = 1 if self.waited else self.prefetch.limit
        claim_started = time.monotonic()
        self.buffer.add_claimed(self.broker.claim(self.name, limit, self.prefetch.short), since=claim_started)
        worked = self.buffer.has_claimed
        self.waited = False
        self._run_claimed()
        self.turns += 1
        if not worked or self.turns % DJANGO_Q_EVERY == 0:
            worked = self.django_q_tasks.run_some(lambda: self.stopping) or worked
        if not worked and not self.stopping:
            self.idle(self.broker.wait)
            self.waited = True

    @property
    def run_count(self) -> int:
        return super().run_count + self.django_q_tasks.count

    def drain(self) -> None:
        """Nothing to do: every turn ends with an empty buffer."""

    def stop_now(self) -> None:
        super().stop_now()
        self.main_thread.stop()
        self.django_q_tasks.thread.stop()

    def _run_claimed(self) -> None:
        """Run the claimed jobs in turn; write the results of short ones in batches."""
        write_by = 0.0
        while not self.stopping and (job := self.buffer.next_claimed()):
            started = time.monotonic()
            self.attempts.run(job, self.main_thread, MAIN_SLOT)
            now = time.monotonic()
            self.prefetch.add_duration(job.kind, now - started)
            write_by = write_by or started + MAX_WRITE_DELAY
            if now >= write_by or self.buffer.full:
                self.attempts.record(self.buffer.write_results)
                write_by = 0.0
        self.attempts.record(self.buffer.flush)
