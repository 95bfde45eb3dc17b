"""The I/O worker process: runs kinds with threads= (mail, HTTP calls) and nothing else, each kind in a thread pool."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, Protocol

import structlog
from django.db import close_old_connections, connections

from jobs.models import Job
from jobs.registry import kinds
from jobs.worker import malloc
from jobs.worker.attempts.batches import prepare
from jobs.worker.attempts.buffer import START_WITHIN
from jobs.worker.attempts.interrupt import OtherThread, Stopped
from jobs.worker.process import ProcessHandle, WorkerProcess

log = structlog.get_logger(__name__)

POLL = 0.05
"""Seconds that the main thread waits for a job to end before it tries to claim more."""
YIELD_AFTER_WAKE = 0.002
"""Seconds after which a woken process claims. A notification wakes all processes, and most often it concerns a job that
an ordinary worker can start within this time; two claims at once would slow each other down."""
CLAIM_AFTER_END = 0.004
"""Seconds after the end of a job in which others may end too, so that one claim starts several."""
CLOSE_AFTER_IDLE = 2.0
"""Seconds without a job after which a thread closes its database connection, so that only busy threads hold one."""
TRUST_CONNECTION_FOR = 1.0
"""Seconds after its last use for which a connection is not checked again."""

RunJob = Callable[..., None]
"""Called in a thread with a job, the thread's slot in the watchdog, and what else start() was given."""


class Broker(Protocol):
    """What an I/O worker needs of a broker; implemented in jobs.brokers."""

    def claim_for_pools(self, worker: str, free: Mapping[str, int]) -> list[Job]: ...
    def wait(self) -> None: ...


class IoWorker(WorkerProcess):
    """The main thread claims jobs and writes results; the handlers run in the pools."""

    def __init__(self, handle: ProcessHandle, broker: Broker) -> None:
        self.broker = broker
        self.stop_at_once = False
        super().__init__(handle)
        malloc.limit_arenas()
        self.pools = ThreadPools(lambda job, slot, arguments: self.attempts.run(job, OtherThread(), slot, arguments))

    def turn(self) -> None:
        """Start jobs in free threads; wait if nothing is due or every thread is busy."""
        claim_started, free = time.monotonic(), self.pools.free()
        claimed = self.broker.claim_for_pools(self.name, free) if free else []
        arguments = prepare(claimed)
        if time.monotonic() - claim_started < START_WITHIN:
            # Not by way of the buffer, from which the heartbeat would hand some back: what is prepared should start.
            for job in claimed:
                self.pools.start(job, arguments.get(job.pk))
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
        while self.pools.busy:
            if self.stop_at_once:
                self.running.interrupt_all(Stopped("its worker has to stop"))
            self.pools.wait(POLL)
            self.attempts.record(self.buffer.write_results)
        self.attempts.record(self.buffer.write_results)  # the last job may have ended after the write above

    def stop_now(self) -> None:
        super().stop_now()
        self.stop_at_once = True


def total_threads() -> int:
    """The most threads that one process may have, over all kinds."""
    return sum(kind.threads for kind in kinds())


class ThreadPools:
    """Up to threads= jobs of each kind at once. Called by the main thread only. Threads start on demand."""

    def __init__(self, run_job: RunJob) -> None:
        self._run_job = run_job
        self._jobs: SimpleQueue[tuple[Job, tuple[Any, ...]]] = SimpleQueue()
        self._started = 0
        self._ended = threading.Condition()
        self._running: Counter[str] = Counter()

    @property
    def busy(self) -> bool:
        return self._running.total() > 0

    def free(self) -> dict[str, int]:
        """By kind: how many more jobs could start now. Kinds that are full are left out."""
        free = {kind.name: kind.threads - self._running[kind.name] for kind in kinds() if kind.threads}
        return {kind: count for kind, count in free.items() if count > 0}

    def start(self, job: Job, *given: Any) -> None:
        with self._ended:
            self._running[job.kind] += 1
            wanted = self._running.total()
        if self._started < wanted:
            # A daemon thread: an idle one must not keep its process alive.
            thread = threading.Thread(target=self._work, args=[self._started], name=f"job-{self._started}", daemon=True)
            self._started += 1
            thread.start()
        self._jobs.put((job, given))

    def wait(self, seconds: float) -> bool:
        """Return when a job ends, or after this many seconds; True if one has ended."""
        with self._ended:
            return self.busy and self._ended.wait(seconds)

    def _work(self, slot: int) -> None:
        """The thread's loop: runs jobs as long as the process lives, all on one database connection."""
        used_at = time.monotonic()
        while True:
            with _errors_logged():
                job, given = self._next_job()
                with self._counted_as_running(job):
                    if time.monotonic() - used_at > TRUST_CONNECTION_FOR or _connection_had_errors():
                        close_old_connections()
                    self._run_job(job, slot, *given)
                used_at = time.monotonic()

    def _next_job(self) -> tuple[Job, tuple[Any, ...]]:
        try:
            return self._jobs.get(timeout=CLOSE_AFTER_IDLE)
        except Empty:
            connections.close_all()
            return self._jobs.get()

    @contextmanager
    def _counted_as_running(self, job: Job) -> Iterator[None]:
        """The job stops counting when the body ends, even if the body raises."""
        try:
            yield
        finally:
            with self._ended:
                self._running[job.kind] -= 1
                self._ended.notify_all()


@contextmanager
def _errors_logged() -> Iterator[None]:
    """An error must not end the thread: jobs are claimed on the assumption that it lives."""
    try:
        yield
    except BaseException:
        log.exception("thread_failed")  # the job's lease expires, which ends the attempt


def _connection_had_errors() -> bool:
    """True if a connection of this thread has had an error, so it must be checked before its next use."""
    return any(connection.errors_occurred for connection in connections.all(initialized_only=True))
