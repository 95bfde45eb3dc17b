"""A claim as a value, and the order in which a worker tries claims. Pure: the database is asked by claiming.py."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

from jobs.models.queue.due import MAIN_THREAD, STARVED_AFTER
from jobs.models.queue.low_water import Marks

LEASE = timedelta(seconds=30)
"""How long a claim is valid unless its worker renews it."""


@dataclass(frozen=True)
class Claim:
    """Which due jobs a worker asks for. Two claims are equal if the same jobs match them, whoever claims how many.

    queues, kinds: only these; None means all.
    without_users: passes over the jobs of these users.
    overdue: None for the highest priority first; otherwise the longest waiting first, of jobs that have been due for
    longer than this.
    pool, owner: only jobs of this pool, and of this user if there is one.

    worker: the name under which the claimed jobs run.
    limit: how many jobs at most.
    short: kinds whose jobs may be claimed together; None means all. Any other job, and one that was tried before or may
    not be tried again, ends the batch, or is claimed alone.
    threads: for pools of threads, how many of each are idle; takes at most as many jobs of each pool. Such a claim has
    no kinds, pool, owner, limit, short and marks.
    marks: where the search starts (low_water.py); empty: from the beginning.
    """

    worker: str = field(compare=False)
    queues: tuple[str, ...] | None = None
    kinds: tuple[str, ...] | None = None
    without_users: tuple[int, ...] = ()
    overdue: timedelta | None = None
    pool: str = MAIN_THREAD
    owner: int | None = None
    limit: int = field(default=1, compare=False)
    short: tuple[str, ...] | None = field(default=None, compare=False)
    threads: Mapping[str, int] | None = field(default=None, compare=False)
    marks: Marks = field(default=(), compare=False)

    @property
    def by_age(self) -> bool:
        return self.overdue is not None

    @property
    def in_one_queue(self) -> bool:
        return self.queues is not None and len(self.queues) == 1


def orders(claim: Claim, *, by_age: bool, ceiling: tuple[int, ...] = ()) -> Iterator[Claim]:
    """The claims that are tried, one after the other, until one finds jobs.

    by_age: first those that have waited longest. ceiling: users who get only what the others leave.
    """
    if ceiling:
        yield from orders(replace(claim, without_users=ceiling), by_age=by_age)
    if by_age:
        yield replace(claim, overdue=STARVED_AFTER)
    yield claim
