"""The I/O worker process: runs kinds with threads= (mail, HTTP calls) and nothing else, each kind in a thread pool."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import structlog

from jobs.models import Job
from jobs.worker import malloc
from jobs.worker.attempts.batches import Arguments, prepare
from jobs.worker.attempts.buffer import START_WITHIN
from jobs.worker.attempts.interrupt import OtherThread, Stopped
from jobs.worker.process import ProcessHandle, WorkerProcess
from jobs.worker.thread_pools import ThreadPools

log = structlog.get_logger(__name__)

POLL = 0.05
"""Seconds that the main thread waits for a job to end before it tries to claim more."""
YIELD_AFTER_WAKE = 0.002
"""Seconds after which a woken process claims. A notification wakes all processes, and most often it concerns a job that
an ordinary worker can start within this time; two claims at once would slow each other down."""
CLAIM_AFTER_END = 0.004
"""Seconds after the end of a job in which others may end too, so that one claim starts several."""
LATE_AFTER = 1.0
"""Seconds after which a job that waits for a thread is handed back: it was expected to wait for 0.05."""


class Broker(Protocol):
    """What an I/O worker needs of a broker; implemented in jobs.brokers."""

    def claim_for_pools(self, worker: str, free: Mapping[str, int]) -> list[Job]: ...
    def wait(self) -> None: ...


class IoWorker(WorkerProcess):
    """The main thread claims jobs and writes results; the handlers run in the pools.

    Where calls are short, jobs are claimed for threads that are about to be free.
    """

    def __init__(self, handle: ProcessHandle, broker: Broker) -> None:
        self.broker = broker
        self.stop_at_once = False
        super().__init__(handle)
        malloc.limit_arenas()
        self.pools = ThreadPools(self._run)

    def turn(self) -> None:
        """Start jobs in free threads; wait if nothing is due or nothing may be claimed."""
        self._hand_back_waiting_jobs(claimed_before=time.monotonic() - LATE_AFTER)
        claim_started, free = time.monotonic(), self.pools.free()
        claimed = self.broker.claim_for_pools(self.name, free) if free else []
        arguments = prepare(claimed)
        if time.monotonic() - claim_started < START_WITHIN:
            # Not by way of the buffer, from which the heartbeat would hand some back: what is prepared should start.
            for job in claimed:
                self.pools.start(job, claim_started, arguments.get(job.pk))
        else:
            self.buffer.add_claimed(claimed, since=claim_started)
        # While there are jobs to start, results wait for some more.
        if not claimed or self.buffer.overdue or self.buffer.has_claimed:
            self.attempts.record(self.buffer.flush)
        if claimed or self.stopping:
            return
        if self.pools.busy:
            if self.pools.wait(POLL):
                time.sleep(CLAIM_AFTER_END)
        else:
            self.attempts.record(self.buffer.write_results)  # of threads that have just ended
            self.idle(self.broker.wait)
            time.sleep(YIELD_AFTER_WAKE)

    def drain(self) -> None:
        """Running jobs may end until the supervisor's second signal (SIGUSR1); then they are handed back."""
        self._hand_back_waiting_jobs(claimed_before=math.inf)
        while self.pools.busy:
            if self.stop_at_once:
                self.running.interrupt_all(Stopped("its worker has to stop"))
            self.pools.wait(POLL)
            self.attempts.record(self.buffer.write_results)
        self.attempts.record(self.buffer.write_results)  # the last job may have ended after the write above

    def stop_now(self) -> None:
        super().stop_now()
        self.stop_at_once = True

    def waiting_jobs(self) -> Sequence[Job]:
        return self.pools.waiting_jobs()

    def _hand_back_waiting_jobs(self, claimed_before: float) -> None:
        """Those for which no thread was free soon, so that other processes run them.

        Not what is prepared: an e-mail whose attempt has begun would not be sent again before its provider was asked.
        """
        waited = self.pools.take_back(lambda claimed_at, arguments: arguments is None and claimed_at < claimed_before)
        if waited:
            self.attempts.record(lambda: Job.objects.hand_back_many(self.name, waited))

    def _run(self, job: Job, slot: int, claimed_at: float, arguments: Arguments | None) -> None:
        """In a thread. A job that has waited long, for calls that hang, starts only if its lease still holds."""
        if time.monotonic() - claimed_at > START_WITHIN and Job.objects.renew_leases(self.name, [job]).lost:
            log.warning("job_lease_lost", job_id=str(job.pk), kind=job.kind)
        else:
            self.attempts.run(job, OtherThread(), slot, arguments)
