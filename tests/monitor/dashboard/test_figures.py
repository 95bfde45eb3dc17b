"""The numbers of the dashboard."""

import pytest
from django.utils import timezone

from jobs.models import Job
from monitor import histogram
from monitor.dashboard import figures
from monitor.dashboard.figures import Sums
from monitor.models import QueueDepth
from monitor.rollups import depth
from tests.support.factories import make_job


def make_sums(**counts: int) -> Sums:
    sums = Sums()
    for status, count in counts.items():
        empty = histogram.empty()
        sums.add({"status": status, "count": count, "wait_buckets": empty, "run_buckets": empty})
    return sums


def test_cancelled_jobs_do_not_count_in_a_failure_share() -> None:
    assert make_sums(succeeded=23, failed=1, cancelled=500).failure_rate == 1 / 24
    assert make_sums(cancelled=500).failure_rate is None


@pytest.mark.django_db
@pytest.mark.parametrize("span", ["hour", "day"])
def test_the_depth_chart_keeps_the_highest_number(monkeypatch: pytest.MonkeyPatch, span: str) -> None:
    now = timezone.now()
    monkeypatch.setattr("django.utils.timezone.now", lambda: now)
    jobs = [make_job(kind=kind).pk for kind in ("demo.countdown", "http.request", "report.activity")]
    for left in (3, 0, 1):
        Job.objects.filter(pk__in=jobs[left:]).delete()
        monkeypatch.setattr(depth, "_not_before", 0.0)
        depth.sample_depth()
    [queued] = [each for each in figures._depth(figures._axis(span)) if each.name == "queued"]
    assert queued.values[-1] == 3
    assert figures.latest_depth() == []
    assert QueueDepth.objects.get(kind="", status="queued").count == 3
