"""A worker inside the test's own process: what is due is claimed, run and recorded before the next line."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from django_q.brokers import get_broker

from jobs.models import Job
from jobs.worker import Worker

SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)


class Bench:
    """A place (jobs.place) that nobody guards."""

    name, predecessor = "bench:1", ""

    def expect_done_within(self, seconds: float) -> None: ...
    def expect_idle(self) -> None: ...
    def condemn(self) -> None: ...


def run_due() -> None:
    """Run one attempt of every job that is due now, in the order in which a worker takes them."""
    Job.objects.queue_what_is_due()
    with signal_handlers_kept():
        worker = Worker(Bench(), get_broker())
        for job in Job.objects.claim(worker.name, limit=100):
            worker.execute(job, worker.main)
            worker.hand.write()


@contextmanager
def signal_handlers_kept() -> Iterator[None]:
    """What is made in here and is meant for a process of its own takes none of the test's."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
