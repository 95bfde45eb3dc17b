"""A worker inside the test's own process: what is due is claimed, run and recorded before the next line."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from django_q.brokers import get_broker

from jobs.models import Job
from jobs.registry import kinds
from jobs.worker.watchdog import Predecessor, Watchdog
from jobs.worker.worker import MAIN_SLOT, Worker
from tests.support.claims import claim_for_pools, claim_jobs

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)


class Handle:
    """A worker's handle on its process, without a supervisor."""

    def __init__(self, name: str = "bench:1", predecessor: Predecessor | None = None, slots: int = 1) -> None:
        self.name, self.predecessor = name, predecessor
        self.watchdog = Watchdog(slots)

    def forget_predecessor(self) -> None:
        self.predecessor = None


def run_due() -> None:
    """Run one attempt of every job that is due now, in the order in which workers claim them, in this thread."""
    Job.objects.queue_due()
    with signal_handlers_kept():
        worker = Worker(Handle(), get_broker())
        pools = {kind.pool: 100 for kind in kinds() if kind.threads}
        for job in [*claim_jobs(worker.name, limit=100), *claim_for_pools(worker.name, pools)]:
            worker.attempts.run(job, worker.main_thread, MAIN_SLOT)
            worker.buffer.write_results()


@contextmanager
def signal_handlers_kept() -> Iterator[None]:
    """Restores the test's signal handlers, which objects made in the body replace as in a process of their own."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
