"""The numbers of the dashboard."""

from monitor import histogram
from monitor.dashboard.figures import Sums


def make_sums(**counts: int) -> Sums:
    sums = Sums()
    for status, count in counts.items():
        empty = histogram.empty()
        sums.add({"status": status, "count": count, "wait_buckets": empty, "run_buckets": empty})
    return sums


def test_cancelled_jobs_do_not_count_in_a_failure_share() -> None:
    assert make_sums(succeeded=23, failed=1, cancelled=500).failure_rate == 1 / 24
    assert make_sums(cancelled=500).failure_rate is None
