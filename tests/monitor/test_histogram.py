"""Buckets of durations."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import histogram

durations = st.lists(st.floats(0, 3600), min_size=1, max_size=50)


@given(durations, st.sampled_from([0.5, 0.95]))
def test_a_percentile_is_in_the_bucket_of_the_true_one(seconds: list[float], fraction: float) -> None:
    buckets = histogram.empty()
    for each in seconds:
        buckets[histogram.bucket(each)] += 1
    true = sorted(seconds)[max(-(-int(fraction * 100) * len(seconds) // 100) - 1, 0)]
    estimate = histogram.percentile(buckets, fraction)
    assert estimate is not None
    bounds = (0.0, *histogram.BOUNDS)
    position = histogram.bucket(true)
    assert bounds[position] <= estimate <= bounds[position + 1] + 1e-9


def test_an_empty_histogram_has_no_percentile() -> None:
    assert histogram.percentile(histogram.empty(), 0.5) is None


def test_a_duration_beyond_all_bounds_counts_as_the_last_bound() -> None:
    buckets = histogram.empty()
    buckets[histogram.bucket(1e6)] = 1
    assert histogram.percentile(buckets, 0.95) == histogram.BOUNDS[-1]


@pytest.mark.parametrize(("one", "other"), [([], histogram.empty()), (histogram.empty(), [])])
def test_an_empty_histogram_adds_nothing(one: list[int], other: list[int]) -> None:
    assert histogram.add(one, other) == histogram.empty()


def test_the_sum_of_many_counts_each_duration_once() -> None:
    one, other = histogram.empty(), histogram.empty()
    one[0], one[3], other[3] = 1, 2, 4
    assert histogram.add(one, other) == [1, 0, 0, 6, *[0] * (histogram.SIZE - 4)]
    assert histogram.total([one, other, [], one]) == [2, 0, 0, 8, *[0] * (histogram.SIZE - 4)]
    assert histogram.total([]) == histogram.empty()


def test_buckets_of_other_bounds_are_not_added() -> None:
    with pytest.raises(ValueError, match="zip"):
        histogram.add(histogram.empty(), [1, 2])
