"""Publishes to Amazon CloudWatch how long jobs wait and how many workers are busy: it scales workers by that.

Imported only if CLOUDWATCH_NAMESPACE is set: boto3 takes memory.
Region, credentials and endpoint are those that boto3 finds: AWS_DEFAULT_REGION, the machine's role, AWS_ENDPOINT_URL.
"""

import boto3
from botocore.config import Config
from django.conf import settings

from jobs.models import Cluster, Job

DIMENSIONS = [{"Name": "Role", "Value": "worker"}]
SECONDS = 5
"""Within which CloudWatch must answer. Publishing runs in a thread of the dispatcher, and again a minute later."""


def publish_backlog() -> int:
    """Publish OldestWaitingSeconds, WaitingJobs and BusyWorkersPercent; returns the number of figures.

    Each dispatcher publishes the same, so alarms use the maximum. Raises botocore's errors.
    """
    count, seconds = Job.objects.backlog()
    figures = [
        {"MetricName": "OldestWaitingSeconds", "Unit": "Seconds", "Value": seconds, "Dimensions": DIMENSIONS},
        {"MetricName": "WaitingJobs", "Unit": "Count", "Value": float(count), "Dimensions": DIMENSIONS},
        {"MetricName": "BusyWorkersPercent", "Unit": "Percent", "Value": busy_percent(), "Dimensions": DIMENSIONS},
    ]
    config = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 2})
    client = boto3.client("cloudwatch", config=config)
    client.put_metric_data(Namespace=settings.CLOUDWATCH_NAMESPACE, MetricData=figures)
    return len(figures)


def busy_percent() -> float:
    """The share of workers that run a job, or of I/O workers' threads that do: the larger one, in per cent."""
    alive = [cluster for cluster in Cluster.objects.all() if not cluster.lost]
    workers = [process["busy"] for cluster in alive for process in cluster.workers("worker")]
    threaded = [process["busy"] for cluster in alive for process in cluster.workers("io-worker")]
    shares = (
        sum(busy > 0 for busy in workers) / max(len(workers), 1),
        sum(threaded) / max(len(threaded) * settings.MAIL_THREADS, 1),
    )
    return float(min(100, 100 * max(shares)))
