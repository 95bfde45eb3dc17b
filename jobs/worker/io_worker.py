"""A process that runs kinds with threads= and nothing else: each kind has a pool of threads, which wait for others."""

import time
from collections.abc import Mapping
from typing import Protocol

from jobs.models import Job
from jobs.worker.interrupt import OtherThread, Stopped
from jobs.worker.process import Place, WorkerProcess
from jobs.worker.thread_pools import ThreadPools

PAUSE = 0.05
"""Seconds that the main thread waits for the end of a job before it looks for others to start."""


class Broker(Protocol):
    """What an I/O worker needs of a broker; jobs.brokers has them."""

    def claim_for_pools(self, worker: str, free: Mapping[str, int]) -> list[Job]: ...
    def wait(self) -> None: ...


class IoWorker(WorkerProcess):
    """Its main thread claims and writes results; the handlers run in the pools."""

    def __init__(self, place: Place, broker: Broker) -> None:
        self.broker = broker
        self.stop_at_once = False
        super().__init__(place)
        self.pools = ThreadPools(lambda job, slot: self.attempts.run(job, OtherThread(), slot))

    def turn(self) -> None:
        """Start what has a free thread; wait a moment when nothing is due or all threads are busy."""
        began, free = time.monotonic(), self.pools.free()
        self.buffer.add_claimed(self.broker.claim_for_pools(self.name, free) if free else [], since=began)
        worked = self.buffer.has_claimed
        while job := self.buffer.next_claimed():
            self.pools.start(job)
        self.attempts.record(self.buffer.flush)
        if worked or self.stopping:
            return
        if self.pools.busy:
            self.pools.wait(PAUSE)
        else:
            self.attempts.record(self.buffer.write_results)  # of a thread that ended just now
            self.idle(self.broker.wait)

    def finish(self) -> None:
        """The threads have until the supervisor's second signal; then they are interrupted and handed back."""
        while self.pools.busy:
            if self.stop_at_once:
                self.running.interrupt_all(Stopped("its worker has to stop"))
            self.pools.wait(PAUSE)
            self.attempts.record(self.buffer.write_results)
        self.attempts.record(self.buffer.write_results)  # the last may have ended after that

    def stop_now(self) -> None:
        super().stop_now()
        self.stop_at_once = True
