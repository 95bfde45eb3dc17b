"""The figures by which workers are scaled: what is published, and when."""

from datetime import timedelta
from typing import Any

import boto3
import pytest
from django.utils import timezone
from moto import mock_aws

from jobs.models import Cluster, Job
from project.aws import cloudwatch
from tests.support.factories import make_job

pytestmark = pytest.mark.django_db


@pytest.fixture
def metrics(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """CloudWatch as moto imitates it."""
    settings.CLOUDWATCH_NAMESPACE = "Legwork"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with mock_aws():
        yield boto3.client("cloudwatch")


def published(metrics: Any, name: str) -> float:
    now = timezone.now()
    found = metrics.get_metric_statistics(
        Namespace="Legwork",
        MetricName=name,
        Dimensions=cloudwatch.DIMENSIONS,
        StartTime=now - timedelta(minutes=5),
        EndTime=now + timedelta(minutes=5),
        Period=60,
        Statistics=["Maximum"],
    )
    return float(max(point["Maximum"] for point in found["Datapoints"]))


def test_the_age_of_the_oldest_due_job_is_published(metrics: Any) -> None:
    make_job(run_at=timezone.now() - timedelta(seconds=90))
    make_job("scheduled")
    assert cloudwatch.publish_backlog() == 3
    assert 90 <= published(metrics, "OldestWaitingSeconds") < 600
    assert published(metrics, "WaitingJobs") == 1


def test_an_empty_queue_has_waited_for_nothing(metrics: Any) -> None:
    assert not Job.objects.exists()
    cloudwatch.publish_backlog()
    assert published(metrics, "OldestWaitingSeconds") == 0


def test_the_share_of_busy_workers_is_published(metrics: Any, settings: Any) -> None:
    settings.MAIL_THREADS = 10
    busy = [("worker", 1), ("worker", 0), ("worker", 0), ("worker", 0), ("io-worker", 4), ("reserve", 1)]
    processes = [{"name": "here", "role": role, "pid": 1, "memory": 1, "busy": jobs} for role, jobs in busy]
    Cluster.objects.create(name="here", host="here", processes=processes)
    lost = timezone.now() - timedelta(minutes=1)
    Cluster.objects.create(name="lost", host="lost", processes=processes[:1], seen_at=lost)
    cloudwatch.publish_backlog()
    assert published(metrics, "BusyWorkersPercent") == 40


def test_without_workers_none_is_busy(metrics: Any) -> None:
    assert cloudwatch.busy_percent() == 0
