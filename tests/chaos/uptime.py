"""When at least one cluster was up: only then does the wait of a lost job count. Pure functions."""

from collections.abc import Iterable, Sequence

Interval = tuple[float, float]
"""From and until, in seconds since 1970."""


def of_cluster(
    starts: Iterable[float], ends: Sequence[float], freezes: Iterable[Interval], now: float
) -> list[Interval]:
    """When it was up: from each start to the next end, but not while it was frozen."""
    up = [(start, min([end for end in ends if end > start], default=now)) for start in starts]
    for freeze in freezes:
        up = [part for whole in up for part in _without(whole, freeze)]
    return up


def union(intervals: Iterable[Interval]) -> list[Interval]:
    """The intervals in order, merged where they overlap."""
    merged: list[Interval] = []
    for begin, end in sorted(intervals):
        if merged and begin <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((begin, end))
    return merged


def seconds_within(intervals: Iterable[Interval], begin: float, end: float) -> float:
    """How many seconds between begin and end the intervals cover, which must not overlap."""
    return sum(max(0.0, min(end, until) - max(begin, since)) for since, until in intervals)


def _without(whole: Interval, gap: Interval) -> list[Interval]:
    (begin, end), (gap_begin, gap_end) = whole, gap
    parts = [(begin, min(end, gap_begin)), (max(begin, gap_end), end)]
    return [(since, until) for since, until in parts if since < until]
