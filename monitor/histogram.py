"""Durations by bucket, from which percentiles are estimated: buckets can be added up, percentiles cannot."""

from bisect import bisect_left
from collections.abc import Iterable, Sequence

BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
"""Upper bounds in seconds. Above the last one there is one bucket more."""
SIZE = len(BOUNDS) + 1


def empty() -> list[int]:
    return [0] * SIZE


def bucket(seconds: float) -> int:
    """The position of the bucket for this duration."""
    return bisect_left(BOUNDS, seconds)


def add(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """The sum, bucket by bucket. An empty one counts as zeros."""
    return [a + b for a, b in zip(one or empty(), other or empty(), strict=True)]


def total(many: Iterable[Sequence[int]]) -> list[int]:
    result = empty()
    for one in many:
        result = add(result, one)
    return result


def percentile(buckets: Sequence[int], fraction: float) -> float | None:
    """Seconds, by linear interpolation inside the bucket; None if there is nothing. At most the last bound."""
    count = sum(buckets)
    if not count:
        return None
    rank, before = fraction * count, 0
    for number, high, low in zip(buckets, BOUNDS, (0.0, *BOUNDS), strict=False):
        if number and before + number >= rank:
            return low + (high - low) * (rank - before) / number
        before += number
    return BOUNDS[-1]
