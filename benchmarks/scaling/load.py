"""Loads: how many jobs come in each minute, and what one of them costs a worker."""

import math
from collections.abc import Callable
from dataclasses import dataclass

HOUR, DAY = 60, 24 * 60
"""Minutes."""


@dataclass(frozen=True, slots=True)
class Load:
    """jobs(minute): how many come in this minute. seconds: a job's mean duration. cpu: its share of a processor."""

    name: str
    jobs: Callable[[int], float]
    minutes: int
    seconds: float
    cpu: float


def day(peak: float, night: float = 0.1) -> Callable[[int], float]:
    """Jobs per minute over a day: the peak (jobs per hour) in the afternoon, a share of it at night."""

    def jobs(minute: int) -> float:
        height = (1 - math.cos(2 * math.pi * (minute - 3 * HOUR) / DAY)) / 2
        return peak / HOUR * (night + (1 - night) * height)

    return jobs


def bursts(steady: float, burst: float, every: int) -> Callable[[int], float]:
    """A steady rate (jobs per hour), and `burst` more jobs in one of every `every` minutes."""
    return lambda minute: steady / HOUR + (burst if minute % every == every // 2 else 0)


LOADS = (
    Load("calls by day", day(2_000_000), DAY, seconds=1, cpu=0.1),
    Load("reports by day", day(8_000), DAY, seconds=300, cpu=0.9),
    Load("bursts of calls", bursts(200_000, 500_000, 4 * HOUR), DAY, seconds=1, cpu=0.1),
)
"""By day, up to 560 calls and 670 reports run at the same time; a burst has half a million calls."""
