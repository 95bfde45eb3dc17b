"""Which users' jobs a claim passes over, so that no user occupies all workers while others wait.

Once a second each worker process asks which users have as many running jobs as MAX_RUNNING_PER_USER allows. Its claims
pass over the jobs of these users. If such a claim finds nothing, nobody else waits, and for a while claims pass over
no one. So with a single user nearly every claim is an ordinary one.
"""

import time
from collections.abc import Mapping

from django.conf import settings

from jobs.models import Job
from jobs.models.queue.due import MAIN_THREAD
from jobs.models.statements import CompiledQuery
from jobs.registry import kinds

LOOK_EVERY = 1.0
"""Seconds between two counts of each user's running jobs, and between two checks whether anybody else waits."""
SHARE_OF_RUNNING = 80.0
"""The next count is delayed by this many times the last one's duration: while a snapshot is held, a count reads a dead
index entry for each job claimed in the last half minute."""
SHARE = 20.0
"""The next check whether others wait is delayed by this many times the last one's duration: a check reads all due jobs
of the users passed over. So checks take at most 5 % of a worker's time."""


_RUNNING = CompiledQuery(lambda in_pools: Job.objects.running_by_user(in_pools=in_pools))


class FairShare:
    """Of one worker process. in_pools: it claims for pools of threads and not for its main thread."""

    def __init__(self, *, in_pools: bool) -> None:
        self.in_pools = in_pools
        self._users: tuple[int, ...] = ()
        self._look_at = 0.0
        self._alone_until = 0.0

    def passed_over(self, *, busy: bool = True) -> tuple[int, ...]:
        """The users whose jobs a claim passes over now; empty while nobody else waits.

        busy: False for an idle worker's claim, which uses the last count, so that a new job does not wait for one.
        """
        if time.monotonic() < self._alone_until:
            return ()
        return self.at_ceiling() if busy or not self._look_at else self._users

    def at_ceiling(self) -> tuple[int, ...]:
        """The users that have as many running jobs as they may while others wait. Asks at most once a second."""
        now = time.monotonic()
        if now >= self._look_at:
            ceilings = ceilings_of_pools() if self.in_pools else {MAIN_THREAD: ceiling()}
            rows = _RUNNING.rows(self.in_pools)
            self._users = tuple(sorted({user for user, pool, number in rows if number >= ceilings.get(pool, number)}))
            self._look_at = time.monotonic() + max(LOOK_EVERY, SHARE_OF_RUNNING * (time.monotonic() - now))
        return self._users

    def nobody_else_waits(self, took: float) -> None:
        """Called when a claim that passed them over found nothing. took: seconds."""
        self._alone_until = time.monotonic() + max(LOOK_EVERY, took * SHARE)


def ceiling() -> int:
    """Jobs that a user may have running in main threads while others wait."""
    return settings.MAX_RUNNING_PER_USER or max(1, settings.WORKERS // 2)


def ceilings_of_pools() -> Mapping[str, int]:
    """The same by pool: half of its threads."""
    return {kind.pool: max(1, kind.threads * max(1, settings.IO_WORKERS) // 2) for kind in kinds() if kind.pool}
