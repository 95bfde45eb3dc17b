"""What Redis and SQS have in common: messages wake those who wait."""

from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property, partial
from time import monotonic, sleep

from django_q.conf import Conf

from jobs.brokers.breaker import Breaker
from jobs.brokers.claims import ClaimsJobs
from jobs.models import Job

MOST_TICKETS = 10
"""Messages that one announcement puts into a queue, however many jobs it is about: a batch of SQS."""
ANNOUNCED_WITHIN = 1.0
"""Seconds that a broker has to connect, and to answer, where a client waits for the end of its POST."""

Tickets = Mapping[str, list[str]]
"""The messages for each queue; those for who serves all queues are under the clusters' common name, and come first."""


class WakesByMessage(ClaimsJobs):
    """A mixin for the brokers that are not the database."""

    WAIT: float
    """Seconds of one wait; also the time between two looks at the rows while the broker is away."""

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

    def wait(self) -> None:
        """Until a message arrives, at most WAIT seconds."""
        until = monotonic() + self.WAIT
        if not self._breaker.attempt(self._listened, otherwise=False):
            sleep(max(0, until - monotonic()))

    def _listened(self) -> bool:
        self.listen()
        return True


def _tickets(jobs: Iterable[Job]) -> Tickets:
    found: dict[str, list[str]] = defaultdict(list)
    for job in jobs:
        for queue in (Conf.PREFIX, job.queue):
            if len(found[queue]) < MOST_TICKETS:
                found[queue].append(str(job.pk))
    return found
