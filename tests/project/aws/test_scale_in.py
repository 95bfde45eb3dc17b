"""An instance of an Auto Scaling group is protected while a long job runs on it; EC2 and its metadata are imitated."""

from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import boto3
import pytest
from django.utils import timezone
from moto import mock_aws

from jobs.cluster.reports import cluster_name
from jobs.models import Job
from project.aws import scale_in
from tests.support.factories import make_job
from tests.support.servers.web import Server, running

pytestmark = pytest.mark.django_db

TOKEN = "a-token"


class Metadata(BaseHTTPRequestHandler):
    """IMDSv2: a token for a PUT, the instance's id for a GET with it."""

    instance = ""

    def do_PUT(self) -> None:
        asked = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self._answer(200 if asked else 400, TOKEN)

    def do_GET(self) -> None:
        known = self.path == "/latest/meta-data/instance-id" and self.headers["X-aws-ec2-metadata-token"] == TOKEN
        self._answer(200 if known else 401, self.instance)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Any]:
    """Auto Scaling with a group of one instance, which is the one that this process runs on."""
    settings.WORKER_GRACE = 30
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    with running(Server(("127.0.0.1", 0), Metadata)) as url, mock_aws():
        monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
        ec2, client = boto3.client("ec2"), boto3.client("autoscaling")
        image = ec2.describe_images()["Images"][0]["ImageId"]
        client.create_launch_configuration(LaunchConfigurationName="lc", ImageId=image, InstanceType="t3.small")
        client.create_auto_scaling_group(
            AutoScalingGroupName="workers",
            LaunchConfigurationName="lc",
            MinSize=1,
            MaxSize=1,
            AvailabilityZones=["eu-west-1a"],
        )
        [instance] = client.describe_auto_scaling_instances()["AutoScalingInstances"]
        monkeypatch.setattr(Metadata, "instance", instance["InstanceId"])
        scale_in.instance_id.cache_clear()
        yield client
    scale_in.instance_id.cache_clear()


def is_protected(group: Any) -> bool:
    [instance] = group.describe_auto_scaling_instances()["AutoScalingInstances"]
    return bool(instance["ProtectedFromScaleIn"])


def make_running(seconds: int, worker: str = "") -> Job:
    """A job that has been running for so long, on this cluster unless another worker is named."""
    job: Job = make_job("running")
    began = timezone.now() - timedelta(seconds=seconds)
    Job.objects.filter(pk=job.pk).update(started_at=began, worker=worker or f"{cluster_name()}:1")
    return job


def test_an_instance_is_protected_while_a_long_job_runs_on_it(group: Any) -> None:
    job = make_running(31)
    assert scale_in.protect_while_busy() == 1
    assert is_protected(group)
    assert scale_in.protect_while_busy() == 0
    Job.objects.filter(pk=job.pk).delete()
    assert scale_in.protect_while_busy() == 1
    assert not is_protected(group)


def test_a_short_job_and_a_job_of_another_cluster_protect_nothing(group: Any) -> None:
    make_running(5)
    make_running(600, worker=f"another{cluster_name()}:1")
    assert scale_in.protect_while_busy() == 0
    assert not is_protected(group)


def test_an_instance_without_a_group_is_left_alone(group: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    make_running(600)
    monkeypatch.setattr(Metadata, "instance", "i-00000000000000000")
    scale_in.instance_id.cache_clear()
    assert scale_in.protect_while_busy() == 0
