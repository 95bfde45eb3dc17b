"""Where claims start: above the entries of an index that lead to finished jobs.

While any transaction keeps a snapshot, PostgreSQL cannot remove dead rows, and a claim from the beginning of the queue
walks over the entries of every job that has left it. So a worker remembers where its last claims found jobs: the
low-water mark of each priority, in `run_at`. A mark is a hint. A job may come to lie below it: it was committed late or
by a machine whose clock is behind, it was handed back, restarted, retried or given another priority. So workers also
look from the beginning, which sets the marks anew: when there is nothing above the marks, and every FULL_LOOK_EVERY
while there is. Where that takes long they do so less often: such looks take an eightieth of a worker's time at most.

Marks exist only while a look from the beginning reads many pages. Elsewhere every claim is what it is
without this module.
"""

import time
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

FULL_LOOK_EVERY = 0.25
"""Seconds between two looks from the beginning while there are jobs above the marks."""
SHARE = 80.0
"""After a look from the beginning the next one waits so many times as long as it took, if it was slow, and so do claims
by age after one that found nothing: other claims find the same jobs unless those are starved. Jobs that arrive at an
idle worker during a look wait for its end."""
SLOW_LOOK, SLOW_CLAIM = 0.001, 0.008
"""Seconds after which PostgreSQL is asked how many pages a look at the head of the queue reads: a look by itself, and a
claim of one job with its commit. Without marks they may also be slow because the machine is busy."""
ASK_EVERY = 1.0
"""Seconds between two such questions: on a busy machine all claims are slow, and the job that was claimed waits."""
MANY_PAGES = 100
"""Pages that a look reads where there are a thousand dead entries or two; without them, about ten."""
SETTLED = timedelta(seconds=5)
"""Where nothing was found, the mark follows the clock so far behind it. Nearly all jobs are committed by then."""

Marks = tuple[tuple[int, datetime], ...]
"""Priorities from the highest on, each with the run_at from which on its jobs are looked for. By age: one, of all."""


class Due(Protocol):
    """A claimed job."""

    priority: int
    run_at: datetime


class LowWater:
    """The marks of one worker process for one sort of claim.

    by_age: claims pass over what has been due for less than this and ignore priorities, so there is one mark.
    """

    def __init__(self, by_age: timedelta | None = None) -> None:
        self._by_age = by_age
        self._marks: dict[int, datetime] = {}
        self._is_busy = False
        self._claim_at = 0.0
        self._full_look_at = 0.0
        self._full_look_if_empty_at = 0.0
        self._ask_at = 0.0

    @property
    def marks(self) -> Marks:
        """Where a claim starts; empty: from the beginning."""
        return tuple(sorted(self._marks.items(), reverse=True))

    def may_claim(self) -> bool:
        """False for a while after a slow claim by age that found nothing."""
        return time.monotonic() >= self._claim_at

    def is_full_look_due(self) -> bool:
        """Whether to look from the beginning before a claim. An idle worker does it after one that found nothing."""
        return self._is_busy and time.monotonic() >= self._full_look_at

    def may_look_fully(self) -> bool:
        """Whether to look from the beginning after a claim that found nothing above the marks."""
        return time.monotonic() >= self._full_look_if_empty_at

    def may_ask(self) -> bool:
        """Whether it is time to ask how many pages a slow look reads; then it is not for ASK_EVERY."""
        now = time.monotonic()
        if now < self._ask_at:
            return False
        self._ask_at = now + ASK_EVERY
        return True

    def forget(self) -> None:
        """A look from the beginning is quick."""
        self._marks.clear()

    def start_at(self, first: Due | None, seconds: float, now: datetime, priorities: Iterable[int]) -> None:
        """A look from the beginning found this job first, or nothing, and took so many seconds.

        now: by the database's clock. priorities: further ones of recent jobs. What waits with a lower priority may be
        below its mark, which ends.
        """
        self._full_look_if_empty_at = time.monotonic() + SHARE * seconds
        self._full_look_at = max(self._full_look_if_empty_at, time.monotonic() + FULL_LOOK_EVERY)
        if first:
            self._marks = {priority: mark for priority, mark in self._marks.items() if priority >= first.priority}
        self.learn([first] if first else [], now, priorities)

    def learn(self, found: Sequence[Due], now: datetime, priorities: Iterable[int] = (), seconds: float = 0.0) -> None:
        """What a claim found, in its order, in so many seconds. now, priorities: see start_at()."""
        self._is_busy = bool(found)
        if self._by_age is not None:
            if found:
                self._marks[0] = found[-1].run_at
            else:
                self._raise(0, now - self._by_age - SETTLED)
                self._claim_at = time.monotonic() + SHARE * seconds
            return
        lowest = found[-1].priority if found else -(2**15) - 1
        for priority in {*self._marks, *priorities}:
            if priority > lowest:  # nothing is left there
                self._raise(priority, now - SETTLED)
        self._marks.update({job.priority: job.run_at for job in found})

    def _raise(self, priority: int, mark: datetime) -> None:
        self._marks[priority] = max(self._marks.get(priority, mark), mark)


class LowWaters:
    """The marks of one worker process, by sort of claim. overdue: for how long jobs that are claimed by age were due.

    Users that are passed over change, and only the marks without the last ones are kept.
    """

    def __init__(self, overdue: timedelta) -> None:
        self._overdue = overdue
        self._of_all = {by_age: self._new(by_age) for by_age in (False, True)}
        self._of_others: dict[bool, tuple[tuple[int, ...], LowWater]] = {}

    def of(self, *, by_age: bool, without_users: tuple[int, ...]) -> LowWater:
        if not without_users:
            return self._of_all[by_age]
        users, marks = self._of_others.get(by_age, ((), self._of_all[by_age]))
        if users != without_users:
            marks = self._new(by_age)
            self._of_others[by_age] = without_users, marks
        return marks

    def _new(self, by_age: bool) -> LowWater:
        return LowWater(self._overdue if by_age else None)
