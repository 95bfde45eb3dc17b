"""Fakes for tests of heartbeat and timekeeper: the queue, the threads of handlers, and the time."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from jobs.models import Job
from jobs.models.ids import new_id
from jobs.models.queue.leases import Renewal
from jobs.worker.attempts.interrupt import Interrupted, Interruptible, MainThread, OtherThread

CHECK_EVERY = 0.005


class Leases:
    """Replaces Job.objects: records the calls of the heartbeat, and answers as the test says."""

    def __init__(self) -> None:
        self.renewed: list[set[UUID]] = []
        self.shown: list[dict[UUID, Any]] = []
        self.cancelled: set[UUID] = set()
        self.lost: set[UUID] = set()
        self.error: BaseException | None = None
        self.before_answer: Callable[[], object] = lambda: None

    def renew_leases(self, worker: str, jobs: Sequence[Job]) -> Renewal:
        ids = {job.pk for job in jobs}
        self.renewed.append(ids)
        self.before_answer()
        if self.error:
            raise self.error
        return Renewal(self.cancelled & ids, self.lost & ids)

    def show_progress(self, worker: str, jobs: Sequence[Job]) -> None:
        self.shown.append({job.pk: job.progress for job in jobs})
        if self.error:
            raise self.error


class Remembering(MainThread):
    """A thread that only remembers why it would have been interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: list[Interrupted] = []

    def interrupt(self, reason: Interrupted) -> None:
        self.reasons.append(reason)


class Ticking(OtherThread):
    """Counts how often its timeout was checked."""

    def __init__(self) -> None:
        super().__init__()
        self.due_checks = 0

    def interrupt_if_due(self) -> None:
        self.due_checks += 1


class Clock:
    """Replaces the module time in another module: it stands still unless a test moves it."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


def make_attempted(**fields: Any) -> Job:
    """A running job that is not in the database."""
    return Job(**{"pk": new_id(), "kind": "test.kind", "attempt": 1, "timeout": 60, "progress": {}} | fields)


@contextmanager
def checking_timeouts(*threads: Interruptible) -> Iterator[None]:
    """Check their timeouts periodically, as a worker's timekeeper does."""
    over = threading.Event()

    def check() -> None:
        while not over.wait(CHECK_EVERY):
            for thread in threads:
                thread.interrupt_if_due()

    checker = threading.Thread(target=check)
    checker.start()
    try:
        yield
    finally:
        over.set()
        checker.join()
