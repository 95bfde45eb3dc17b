"""Protects this EC2 instance from scale-in while a job has been running on it for longer than WORKER_GRACE.

Imported only if SCALE_IN_PROTECTION is set: boto3 takes memory. Leases still decide: an instance that Amazon
terminates all the same hands its jobs back, or their leases expire.
"""

import os
from datetime import timedelta
from functools import cache
from typing import Any

import boto3
import requests
import structlog
from botocore.config import Config
from django.conf import settings
from django.db.models.functions import Now

from jobs.cluster.reports import cluster_name
from jobs.models import Job
from jobs.models.states import Status

log = structlog.get_logger(__name__)

METADATA = "http://169.254.169.254"
"""EC2's instance metadata service; as for boto3, AWS_EC2_METADATA_SERVICE_ENDPOINT names another one."""
SECONDS = 5
"""Within which Amazon must answer. Protecting runs in a thread of the dispatcher, and again some seconds later."""


def protect_while_busy() -> int:
    """Set or lift the protection if it is not as wanted; returns the number of changes.

    Raises botocore's and requests' errors.
    """
    wanted, client = has_long_job(), _client()
    [instance] = client.describe_auto_scaling_instances(InstanceIds=[instance_id()])["AutoScalingInstances"] or [None]
    if instance is None or instance["ProtectedFromScaleIn"] == wanted:
        return 0
    group = instance["AutoScalingGroupName"]
    client.set_instance_protection(InstanceIds=[instance_id()], AutoScalingGroupName=group, ProtectedFromScaleIn=wanted)
    log.info("scale_in_protection", protected=wanted)
    return 1


def has_long_job() -> bool:
    """True if a job of this cluster would be cut off by a stop: it has been running for longer than WORKER_GRACE."""
    running = Job.objects.filter(status=Status.RUNNING, worker__startswith=f"{cluster_name()}:")
    return running.filter(started_at__lt=Now() - timedelta(seconds=settings.WORKER_GRACE)).exists()


@cache
def instance_id() -> str:
    """This instance's id, from the metadata service (IMDSv2)."""
    base = f"{os.environ.get('AWS_EC2_METADATA_SERVICE_ENDPOINT', METADATA).rstrip('/')}/latest"
    headers = {"X-aws-ec2-metadata-token-ttl-seconds": "60"}
    token = requests.put(f"{base}/api/token", headers=headers, timeout=SECONDS)
    token.raise_for_status()
    headers = {"X-aws-ec2-metadata-token": token.text}
    found = requests.get(f"{base}/meta-data/instance-id", headers=headers, timeout=SECONDS)
    found.raise_for_status()
    return found.text


def _client() -> Any:
    config = Config(connect_timeout=SECONDS, read_timeout=SECONDS, retries={"total_max_attempts": 2})
    return boto3.client("autoscaling", config=config)
