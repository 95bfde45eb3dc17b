"""Where claims start: above the entries of an index that lead to finished jobs.

While any transaction keeps a snapshot, PostgreSQL cannot remove dead rows, and a claim from the beginning of the queue
walks over the entries of every job that has left it. So a worker remembers where its last claims found jobs: the
low-water mark of each priority, in `run_at`. A mark is a hint. A job may come to lie below it: it was committed late or
by a machine whose clock is behind, it was handed back, restarted, retried or given another priority. So workers also
look from the beginning, which sets the marks anew: when there is nothing above the marks, and every FULL_LOOK_EVERY
while there is. Where that takes long they do so less often: such looks take an eightieth of a worker's time at most.

Marks exist only while a look from the beginning reads many pages. Otherwise claims work as without this module.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from rest.every import Every

FULL_LOOK_EVERY = 0.25
"""Seconds between two looks from the beginning while there are jobs above the marks."""
SHARE = 80.0
"""After a slow look from the beginning, the next one is delayed by this many times its duration. So are claims by age
after one that found nothing: claims by priority find the same jobs, unless these are starved. Jobs that arrive at an
idle worker during a look wait for its end."""
SLOW_LOOK, SLOW_CLAIM = 0.001, 0.008
"""Seconds above which a look, and a claim of one job with its commit, are slow. After a slow claim without marks,
PostgreSQL is asked how many pages a look reads: the machine may just be busy."""
ASK_EVERY = 1.0
"""Seconds between two such questions: on a busy machine all claims are slow, and a claimed job waits for each."""
MANY_PAGES = 100
"""Pages that a look reads among one or two thousand dead entries; without any it reads about ten."""
SETTLED = timedelta(seconds=5)
"""How far behind the clock a mark is put where nothing was found: nearly all jobs are committed within this time."""

Marks = tuple[tuple[int, datetime], ...]
"""Priorities, the highest first, each with the run_at from which its jobs are searched. By age: one mark for all."""


class Due(Protocol):
    """A claimed job."""

    priority: int
    run_at: datetime


class LowWater:
    """The marks of one worker process for one sort of claim.

    overdue: None for claims by priority. Claims by age take jobs that have been due for longer than this, whatever
    their priority, so there is one mark.
    """

    def __init__(self, overdue: timedelta | None = None) -> None:
        self._overdue = overdue
        self._marks: dict[int, datetime] = {}
        self._is_busy = False
        self._claim = Every(0.0)
        self._look = Every(FULL_LOOK_EVERY)
        self._look_if_empty = Every(0.0)
        self._question = Every(ASK_EVERY)

    @property
    def marks(self) -> Marks:
        """Where a claim starts; empty: from the beginning."""
        return tuple(sorted(self._marks.items(), reverse=True))

    def may_claim(self) -> bool:
        """False for a while after a slow claim by age that found nothing."""
        return self._claim.is_due()

    def is_full_look_due(self) -> bool:
        """Whether to look from the beginning before a claim. An idle worker does it after one that found nothing."""
        return self._is_busy and self._look.is_due()

    def may_look_fully(self) -> bool:
        """Whether to look from the beginning after a claim that found nothing above the marks."""
        return self._look_if_empty.is_due()

    def may_ask(self) -> bool:
        """Whether to ask how many pages a slow look reads. True once in ASK_EVERY seconds."""
        if not self._question.is_due():
            return False
        self._question.restart()
        return True

    def forget(self) -> None:
        """Called after a quick look from the beginning: claims need no marks."""
        self._marks.clear()

    def start_at(self, first: Due | None, seconds: float, now: datetime, priorities: Iterable[int]) -> None:
        """Called after a slow look from the beginning. first: the job that it found, if any. seconds: its duration.

        now: by the database's clock. priorities: of recently finished jobs. Marks of priorities lower than first's are
        dropped, because jobs may wait below them.
        """
        self._look_if_empty.restart(SHARE * seconds)
        self._look.restart(SHARE * seconds)
        if first:
            self._marks = {priority: mark for priority, mark in self._marks.items() if priority >= first.priority}
        self.learn([first] if first else [], now, priorities)

    def learn(self, found: Sequence[Due], now: datetime, priorities: Iterable[int] = (), seconds: float = 0.0) -> None:
        """Called after a claim. found: its jobs in order. seconds: its duration. now, priorities: see start_at()."""
        self._is_busy = bool(found)
        if self._overdue is not None:
            if found:
                self._marks[0] = found[-1].run_at
            else:
                self._raise(0, now - self._overdue - SETTLED)
                self._claim.restart(SHARE * seconds)
            return
        lowest = found[-1].priority if found else -(2**15) - 1
        for priority in {*self._marks, *priorities}:
            if priority > lowest:  # nothing is left there
                self._raise(priority, now - SETTLED)
        self._marks.update({job.priority: job.run_at for job in found})

    def _raise(self, priority: int, mark: datetime) -> None:
        self._marks[priority] = max(self._marks.get(priority, mark), mark)


class LowWaters:
    """The marks of one worker process, by sort of claim.

    Of claims that pass over users, only the marks for the latest set of users are kept.
    """

    def __init__(self) -> None:
        self._of_all: dict[timedelta | None, LowWater] = {}
        self._of_others: dict[timedelta | None, tuple[tuple[int, ...], LowWater]] = {}

    def of(self, overdue: timedelta | None, without_users: tuple[int, ...]) -> LowWater:
        """The marks of claims by age (overdue) or by priority (None), which pass over these users."""
        if not without_users:
            return self._of_all.setdefault(overdue, LowWater(overdue))
        users, marks = self._of_others.get(overdue, ((), None))
        if marks is None or users != without_users:
            marks = LowWater(overdue)
            self._of_others[overdue] = without_users, marks
        return marks
