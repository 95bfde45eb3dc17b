"""A process that runs one job at a time in its main thread, and plain django-q tasks between jobs."""

import time
from typing import Any, Protocol

from jobs.models import Job
from jobs.models.claiming import CanBatch
from jobs.worker.django_q_tasks import PlainTasks
from jobs.worker.interrupt import MainThread
from jobs.worker.prefetch import Prefetch
from jobs.worker.process import Place, WorkerProcess

WRITE_WITHIN = 0.02
"""Seconds that a result waits at most for others to be written with."""
PLAIN_EVERY = 20
"""Turns with jobs between two looks at plain django-q tasks, so that jobs do not starve them."""
MAIN_SLOT = 0


class Broker(Protocol):
    """What a worker needs of a broker; jobs.brokers has them."""

    def claim(self, worker: str, limit: int, can_batch: CanBatch) -> list[Job]: ...
    def wait(self) -> None: ...
    def dequeue(self) -> list[tuple[Any, str]] | None: ...
    def acknowledge(self, receipt: Any) -> None: ...
    def fail(self, receipt: Any) -> None: ...
    def release(self, receipt: Any) -> None: ...


class Worker(WorkerProcess):
    """For kinds without threads=."""

    def __init__(self, place: Place, broker: Broker) -> None:
        self.broker = broker
        self.main = MainThread()
        self.prefetch = Prefetch()
        self.turns = 0
        self.waited = False
        super().__init__(place)
        self.plain = PlainTasks(broker, self.running, self.attempts.record)

    def turn(self) -> None:
        """Run what can be claimed, and now and then what django-q has; wait a moment when there is neither."""
        # After a wait there can hardly be more than one job, which is the quickest to claim.
        limit = 1 if self.waited else self.prefetch.limit
        began = time.monotonic()
        self.buffer.add_claimed(self.broker.claim(self.name, limit, self.prefetch.can_batch), since=began)
        worked = self.buffer.has_claimed
        self.waited = False
        self._run_claimed()
        self.turns += 1
        if not worked or self.turns % PLAIN_EVERY == 0:
            worked = self.plain.run_some(lambda: self.stopping) or worked
        if not worked and not self.stopping:
            self.idle(self.broker.wait)
            self.waited = True

    @property
    def done(self) -> int:
        return super().done + self.plain.count

    def finish(self) -> None:
        """Nothing is left: each turn ends with an empty buffer."""

    def stop_now(self) -> None:
        super().stop_now()
        self.main.stop()
        self.plain.thread.stop()

    def _run_claimed(self) -> None:
        """Run the claimed jobs one after the other; results of short ones are written many at a time."""
        write_by = 0.0
        while not self.stopping and (job := self.buffer.next_claimed()):
            began = time.monotonic()
            self.attempts.run(job, self.main, MAIN_SLOT)
            now = time.monotonic()
            self.prefetch.measured(job.kind, now - began)
            write_by = write_by or began + WRITE_WITHIN
            if now >= write_by or self.buffer.full:
                self.attempts.record(self.buffer.write_results)
                write_by = 0.0
        self.attempts.record(self.buffer.flush)
