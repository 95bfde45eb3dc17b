"""The simulated system: jobs in their order of arrival, workers that are free or busy, machines that have to start.

Every job is simulated. Machines are ordered and given up at the end of a minute.
"""

import heapq
import random
from collections import deque
from dataclasses import dataclass, field

from benchmarks.scaling.load import Load
from benchmarks.scaling.policies import Policy, Seen

WORKERS = 4
"""Of a machine with two processors."""
PROCESSORS = 2
LONGEST = 24 * 3600
"""Seconds. A longer wait is counted as one of this length."""


@dataclass(frozen=True, slots=True)
class Machines:
    """starts_in: seconds from the order to the first job. grace: seconds that running jobs have at a machine's end."""

    starts_in: float = 180.0
    grace: float = 30.0
    least: int = 1
    most: int = 250


@dataclass(slots=True)
class Outcome:
    """waits: how many jobs waited for so many seconds, rounded down. handed_back: jobs that had to start anew."""

    waits: list[int] = field(default_factory=lambda: [0] * (LONGEST + 1))
    machine_hours: float = 0.0
    handed_back: int = 0
    machines: list[int] = field(default_factory=list)
    """At the end of each minute."""
    depths: list[int] = field(default_factory=list)

    @property
    def jobs(self) -> int:
        return sum(self.waits)

    def percentile(self, share: float) -> int:
        """Seconds within which this share of the jobs has begun."""
        left = share * self.jobs
        for seconds, count in enumerate(self.waits):
            left -= count
            if left <= 0:
                return seconds
        return LONGEST

    def within(self, seconds: int) -> float:
        """The share of jobs that began within so many seconds."""
        return sum(self.waits[: seconds + 1]) / max(self.jobs, 1)


def simulate(load: Load, policy: Policy, machines: Machines | None = None, seed: int = 1) -> Outcome:
    """One run, from the first minute of the load to the last."""
    return _Run(load, policy, machines or Machines(), random.Random(seed)).run()  # noqa: S311 not a secret


class _Run:
    def __init__(self, load: Load, policy: Policy, machines: Machines, chance: random.Random) -> None:
        self.load, self.policy, self.machines, self.chance = load, policy, machines, chance
        self.outcome = Outcome()
        self.waiting: deque[float] = deque()
        """When each waiting job has come."""
        self.free_at: list[float] = []
        """A heap: when each worker is free next."""
        self.count = 0
        self.ordered: list[tuple[float, int]] = []
        """Machines that start: when they are ready, and how many."""
        self.seen: list[Seen] = []

    def run(self) -> Outcome:
        # As many as the first minute needs, and half as many more.
        jobs_at_once = self.load.jobs(0) / 60 * self.load.seconds
        self._add(max(self.machines.least, int(1.5 * jobs_at_once / WORKERS)), ready_at=0.0)
        for minute in range(self.load.minutes):
            self._arrive(minute)
            end = (minute + 1) * 60.0
            self._work_until(end)
            self.outcome.machine_hours += self.count / 60
            self._scale(end)
            self.outcome.machines.append(self.count)
            self.outcome.depths.append(len(self.waiting))
        return self.outcome

    def _arrive(self, minute: int) -> None:
        mean = self.load.jobs(minute)
        number = max(0, round(self.chance.gauss(mean, mean**0.5)))
        chance, gap = self.chance.random, 60 / max(number, 1)
        self.waiting.extend(minute * 60 + (place + chance()) * gap for place in range(number))

    def _work_until(self, end: float) -> None:
        """First come, first served, by whichever worker is free first."""
        waiting, free_at, waits = self.waiting, self.free_at, self.outcome.waits
        duration, rate = self.chance.expovariate, 1 / self.load.seconds
        while waiting:
            came = waiting[0]
            begin = free_at[0] if free_at[0] > came else came
            if begin >= end:
                return
            waiting.popleft()
            heapq.heapreplace(free_at, begin + duration(rate))
            waits[min(int(begin - came), LONGEST)] += 1

    def _scale(self, now: float) -> None:
        self.ordered = [(ready_at, number) for ready_at, number in self.ordered if ready_at > now]
        ready = self.count - sum(number for _, number in self.ordered)
        busy = sum(free_at > now for free_at in self.free_at) - WORKERS * (self.count - ready)
        age = now - self.waiting[0] if self.waiting and self.waiting[0] < now else 0.0
        cpu = min(1.0, busy * self.load.cpu / (PROCESSORS * max(ready, 1)))
        self.seen.append(Seen(age, len(self.waiting), cpu, busy / (WORKERS * max(ready, 1)), self.count, ready))
        wanted = min(max(self.policy(self.seen), self.machines.least), self.machines.most)
        if wanted > self.count:
            self.ordered.append((now + self.machines.starts_in, wanted - self.count))
            self._add(wanted - self.count, ready_at=now + self.machines.starts_in)
        elif wanted < self.count and not self.ordered:
            self._remove(self.count - wanted, now)

    def _add(self, number: int, ready_at: float) -> None:
        self.count += number
        for _ in range(number * WORKERS):
            heapq.heappush(self.free_at, ready_at)

    def _remove(self, number: int, now: float) -> None:
        """Take away any machines, busy or not. Jobs that run on beyond the grace go back to the head of the queue."""
        self.count -= number
        self.chance.shuffle(self.free_at)
        for _ in range(number * WORKERS):
            if self.free_at.pop() > now + self.machines.grace:
                self.outcome.handed_back += 1
                self.waiting.appendleft(now)
        heapq.heapify(self.free_at)
