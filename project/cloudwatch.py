"""Publishes to Amazon CloudWatch how long jobs wait: the figures by which a group of worker machines is scaled.

Imported only if CLOUDWATCH_NAMESPACE is set: boto3 takes memory.
Region, credentials and endpoint are those that boto3 finds: AWS_DEFAULT_REGION, the machine's role, AWS_ENDPOINT_URL.
"""

import boto3
from botocore.config import Config
from django.conf import settings

from jobs.models import Job

DIMENSIONS = [{"Name": "Role", "Value": "worker"}]
SECONDS = 5
"""That CloudWatch has to answer. Publishing runs in a thread of the dispatcher's and is tried again a minute later."""


def publish_backlog() -> int:
    """Publish OldestWaitingSeconds and WaitingJobs; returns the number of figures.

    Each dispatcher publishes the same, so alarms use the maximum. Raises botocore's errors.
    """
    count, seconds = Job.objects.backlog()
    figures = [
        {"MetricName": "OldestWaitingSeconds", "Unit": "Seconds", "Value": seconds, "Dimensions": DIMENSIONS},
        {"MetricName": "WaitingJobs", "Unit": "Count", "Value": float(count), "Dimensions": DIMENSIONS},
    ]
    config = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 2})
    client = boto3.client("cloudwatch", config=config)
    client.put_metric_data(Namespace=settings.CLOUDWATCH_NAMESPACE, MetricData=figures)
    return len(figures)
