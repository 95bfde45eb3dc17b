"""What Redis and SQS have in common: messages wake those who wait, and who leaves work behind wakes another.

So a burst of jobs needs few messages, and it does no harm that who wakes takes along what would have woken others.
"""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from time import monotonic, sleep
from uuid import UUID

from django_q.conf import Conf

from jobs.brokers.breaker import Breaker
from jobs.brokers.claims import ClaimsJobs
from jobs.models import Job
from jobs.models.claiming import MAIN_THREAD, CanBatch

MOST_TICKETS = 10
"""Messages that one announcement puts into a channel, however many jobs it is about: a batch of SQS."""
ANNOUNCED_WITHIN = 1.0
"""Seconds that a broker has to connect, and to answer, where a client waits for the end of its POST."""
LOOK = "look"
"""What a message says that is about no job in particular."""

Channel = tuple[str, bool]
"""Where workers wait: a queue, or the clusters' common name for those that serve all; and whether for pools."""
Tickets = Mapping[Channel, list[str]]
"""The messages for each channel; those of workers that serve all queues come first."""


class WakesByMessage(ClaimsJobs):
    """A mixin for the brokers that are not the database."""

    WAIT: float
    """Seconds of one wait; also the time between two looks at the rows while the broker is away."""

    _was_idle = False

    @cached_property
    def _seen(self) -> dict[bool, UUID | None]:
        """The first job that waited for each sort of worker when the dispatcher last looked."""
        return {}

    @cached_property
    def _breaker(self) -> Breaker:
        return Breaker()

    @abstractmethod
    def tell(self, tickets: Tickets) -> None:
        """Put these messages where workers wait; raises whatever goes wrong."""

    @abstractmethod
    def listen(self) -> None:
        """Wait for a message, at most WAIT seconds; raises whatever goes wrong."""

    def announce(self, jobs: Iterable[Job]) -> None:
        """Wake workers for these. A broker that is away delays them, for their rows are stored."""
        self._breaker.attempt(partial(self.tell, _tickets(jobs)), None)

    def wait(self) -> None:
        """Until a message arrives, at most WAIT seconds."""
        self._was_idle = True
        until = monotonic() + self.WAIT
        if not self._breaker.attempt(self._listened, otherwise=False):
            sleep(max(0, until - monotonic()))

    def claim(self, worker: str, limit: int, can_batch: CanBatch) -> list[Job]:
        return self._wake_another(super().claim(worker, limit, can_batch))

    def claim_for_pools(self, worker: str, free: Mapping[str, int]) -> list[Job]:
        return self._wake_another(super().claim_for_pools(worker, free))

    def _wake_another(self, claimed: list[Job]) -> list[Job]:
        """A worker that comes from waiting and leaves something behind wakes another."""
        if claimed and self._was_idle:
            self._was_idle = False
            # An error here, of the database too, must not take along what has just been claimed.
            self._breaker.attempt(self._pass_on, None)
        return claimed

    def notice_what_waits(self) -> None:
        """Announce what became due by itself or came back from another worker, for both sorts of workers."""
        Job.objects.queue_what_is_due()
        for for_pools in (False, True):
            first = self._first_that_waits(for_pools)
            # What waits behind the same job as before waits for a free worker, and not for one to be woken.
            if first not in (None, self._seen.get(for_pools)):
                self._breaker.attempt(partial(self.tell, {(self.queue_name, for_pools): [LOOK]}), None)
            self._seen[for_pools] = first

    @property
    def channel(self) -> Channel:
        """Where this process waits."""
        return self.queue_name, self.for_pools

    def _listened(self) -> bool:
        self.listen()
        return True

    def _pass_on(self) -> None:
        if self._first_that_waits(self.for_pools):
            self.tell({self.channel: [LOOK]})

    def _first_that_waits(self, for_pools: bool) -> UUID | None:
        return Job.objects.first_due(self.pools if for_pools else [MAIN_THREAD], self.queues)


def _tickets(jobs: Iterable[Job]) -> Tickets:
    found: dict[Channel, list[str]] = defaultdict(list)
    for job in jobs:
        for queue in (Conf.PREFIX, job.queue):
            tickets = found[queue, bool(job.pool)]
            if len(tickets) < MOST_TICKETS:
                tickets.append(str(job.pk))
    return found
