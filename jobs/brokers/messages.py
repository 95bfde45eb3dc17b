"""What Redis and SQS share: messages wake idle workers, and a woken worker that leaves due jobs behind wakes another.

So a burst of jobs needs few messages, and a worker may safely take jobs whose messages would have woken others.
"""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property, partial
from time import monotonic, sleep
from uuid import UUID

from django_q.conf import Conf

from jobs.brokers.breaker import CircuitBreaker
from jobs.brokers.claims import ClaimingBroker
from jobs.brokers.wakeups import MAX_WAKEUPS, Channel, JobIds, JoinedWakeups, Wakeups
from jobs.models import Job
from jobs.models.queue.due import MAIN_THREAD
from jobs.registry import REMOTE_POOL

NOTIFY_TIMEOUT = 1.0
"""Seconds that a broker has to connect, and to answer, while a client waits for the response to its POST."""
POLL = "look"
"""The body of a message that names no job."""


class WakeupBroker(ClaimingBroker):
    """A mixin for the brokers other than the database."""

    WAIT: float
    """Seconds that one wait() lasts at most; also the poll interval while the broker is unreachable."""

    _was_idle = False

    @cached_property
    def _last_first_due(self) -> dict[bool, UUID | None]:
        """By for_pools: the first due job that the dispatcher last saw."""
        return {}

    @cached_property
    def _breaker(self) -> CircuitBreaker:
        return CircuitBreaker()

    @cached_property
    def _joined_wakeups(self) -> JoinedWakeups:
        return JoinedWakeups(lambda jobs: self._try_send(_wakeups_for(jobs)))

    @abstractmethod
    def send_wakeups(self, wakeups: Wakeups) -> None:
        """Send these messages to their channels. May raise anything."""

    @abstractmethod
    def listen(self) -> None:
        """Wait for a message, at most WAIT seconds. May raise anything."""

    def notify(self, jobs: Iterable[Job]) -> None:
        """Wake workers for these jobs. If the broker is unreachable, workers find them by polling the rows."""
        if ids := _ids_by_channel(jobs):
            self._joined_wakeups.send(ids)

    def wait(self) -> None:
        """Return when a message arrives, or after WAIT seconds."""
        self._was_idle = True
        until = monotonic() + self.WAIT
        if not self._breaker.call(self._try_listen, fallback=False):
            sleep(max(0, until - monotonic()))

    def claim(self, worker: str, limit: int, short: Collection[str]) -> list[Job]:
        return self._wake_another(super().claim(worker, limit, short))

    def claim_for_pools(self, worker: str, free: Mapping[str, int]) -> list[Job]:
        return self._wake_another(super().claim_for_pools(worker, free))

    def wake_for_due_jobs(self) -> None:
        """Wake workers of both sorts for jobs that became due later or were handed back."""
        super().wake_for_due_jobs()
        for for_pools in (False, True):
            first = self._first_due(for_pools)
            # If the same job is still the first, a message was sent for it: all workers are busy.
            if first not in (None, self._last_first_due.get(for_pools)):
                self._try_send({(self.queue_name, for_pools): [POLL]})
            self._last_first_due[for_pools] = first

    @property
    def channel(self) -> Channel:
        """The channel on which this process waits."""
        return self.queue_name, self.for_pools

    def _try_send(self, wakeups: Wakeups) -> None:
        self._breaker.call(partial(self.send_wakeups, wakeups), None)

    def _try_listen(self) -> bool:
        self.listen()
        return True

    def _wake_another(self, claimed: list[Job]) -> list[Job]:
        """The first claim after a wait wakes another worker if due jobs remain."""
        if claimed and self._was_idle:
            self._was_idle = False
            # Inside the breaker: an error, also one of the database, must not lose what has just been claimed.
            self._breaker.call(self._wake_if_due, None)
        return claimed

    def _wake_if_due(self) -> None:
        if self._first_due(self.for_pools):
            self.send_wakeups({self.channel: [POLL]})

    def _first_due(self, for_pools: bool) -> UUID | None:
        return Job.objects.first_due(self.pools if for_pools else [MAIN_THREAD], self.queues)


def _ids_by_channel(jobs: Iterable[Job]) -> JobIds:
    """Quick, because the client that submits the jobs waits for it."""
    found: dict[Channel, list[UUID]] = {}
    for job in jobs:
        if job.pool != REMOTE_POOL:
            ids = found.setdefault((job.queue, bool(job.pool)), [])
            if len(ids) < MAX_WAKEUPS:
                ids.append(job.pk)
    return found


def _wakeups_for(jobs: JobIds) -> Wakeups:
    """For the workers of each queue, and for those of all queues."""
    found: dict[Channel, list[str]] = defaultdict(list)
    for (queue, for_pools), ids in jobs.items():
        for name in (Conf.PREFIX, queue):
            wakeups = found[name, for_pools]
            wakeups += map(str, ids[: MAX_WAKEUPS - len(wakeups)])
    return found
