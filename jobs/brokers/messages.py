"""What Redis and SQS have in common: messages wake those who wait, and who leaves work behind wakes another.

So a burst of jobs needs few messages, and it does no harm that who wakes takes along what would have woken others.
"""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property, partial
from time import monotonic, sleep
from uuid import UUID

from django_q.conf import Conf

from jobs.brokers.breaker import Breaker
from jobs.brokers.claims import ClaimsJobs
from jobs.models import Job
from jobs.queue import MayFollow

MOST_TICKETS = 10
"""Messages that one announcement puts into a queue, however many jobs it is about: a batch of SQS."""
ANNOUNCED_WITHIN = 1.0
"""Seconds that a broker has to connect, and to answer, where a client waits for the end of its POST."""
LOOK = "look"
"""What a message says that is about no job in particular."""

Tickets = Mapping[str, list[str]]
"""The messages for each queue; those for who serves all queues are under the clusters' common name, and come first."""


class WakesByMessage(ClaimsJobs):
    """A mixin for the brokers that are not the database."""

    WAIT: float
    """Seconds of one wait; also the time between two looks at the rows while the broker is away."""

    _was_idle = False
    _seen: UUID | None = None

    @cached_property
    def _breaker(self) -> Breaker:
        return Breaker()

    @abstractmethod
    def tell(self, tickets: Tickets) -> None:
        """Put these messages where those who serve the queues wait; raises whatever goes wrong."""

    @abstractmethod
    def listen(self) -> None:
        """Wait for a message, at most WAIT seconds; raises whatever goes wrong."""

    def announce(self, jobs: Iterable[Job]) -> None:
        """Wake workers for these. A broker that is away delays them, for their rows are stored."""
        self._breaker.attempt(partial(self.tell, _tickets(jobs)), None)

    def wake(self) -> None:
        """Wake one of those who wait where this cluster's workers do."""
        self._breaker.attempt(partial(self.tell, {self.queue_name: [LOOK]}), None)

    def wait(self) -> None:
        """Until a message arrives, at most WAIT seconds."""
        self._was_idle = True
        until = monotonic() + self.WAIT
        if not self._breaker.attempt(self._listened, otherwise=False):
            sleep(max(0, until - monotonic()))

    def claim(self, worker: str, limit: int, may_follow: MayFollow, without: Collection[str] = ()) -> list[Job]:
        """As ever; whoever comes from waiting and leaves something behind wakes another."""
        jobs = super().claim(worker, limit, may_follow, without)
        if jobs and self._was_idle:
            self._was_idle = False
            # Whatever goes wrong here, at the database too, must not take along what has just been claimed.
            self._breaker.attempt(self._pass_on, None)
        return jobs

    def notice_what_waits(self) -> None:
        """Announce what nobody has: jobs that became due by themselves, or came back from another worker."""
        Job.objects.queue_what_is_due()
        first = self._first_that_waits()
        # What waits behind the same job as before waits for a free worker, and not for one to be woken.
        if first not in (None, self._seen):
            self.wake()
        self._seen = first

    def _listened(self) -> bool:
        self.listen()
        return True

    def _pass_on(self) -> None:
        if self._first_that_waits():
            self.tell({self.queue_name: [LOOK]})

    def _first_that_waits(self) -> UUID | None:
        first: UUID | None = Job.objects.due(self.queues).values_list("pk", flat=True).first()
        return first


def _tickets(jobs: Iterable[Job]) -> Tickets:
    found: dict[str, list[str]] = defaultdict(list)
    for job in jobs:
        for queue in (Conf.PREFIX, job.queue):
            if len(found[queue]) < MOST_TICKETS:
                found[queue].append(str(job.pk))
    return found
