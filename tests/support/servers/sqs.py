"""A private Amazon SQS, as moto imitates it, that a test may stop, purge and start again."""

import itertools
import sys
import tempfile
from pathlib import Path
from typing import Any

import boto3
import requests

from demo.eventually import eventually
from demo.processes import Process, free_port
from tests.support.servers.private_server import PrivateServer

REGION = "eu-west-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}
"""What boto3 wants to see in the environment; moto believes anything."""


class SQS(PrivateServer):
    """One server; what it held is gone, queues included, when it is stopped."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="legwork-sqs-")
        self._names = (f"legwork-{number}" for number in itertools.count(1))
        command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(self.port)]
        self._process = Process("SQS", command, log=Path(self._folder.name) / "log")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def url(self) -> str:
        """A BROKER_URL with the name of a new queue."""
        return f"sqs://{REGION}/{next(self._names)}?endpoint={self.endpoint}"

    def start(self, within: float = 120) -> None:
        self._process.start()
        eventually(self._answers, within, f"SQS's start (log: {self._process.tail(5)})")

    def stop(self) -> None:
        self._process.kill()

    def remove(self) -> None:
        self.stop()
        self._folder.cleanup()

    def purge(self) -> None:
        """Every queue that there is."""
        client = boto3.client("sqs", region_name=REGION, endpoint_url=self.endpoint, **_keys())
        for url in client.list_queues().get("QueueUrls", []):
            client.purge_queue(QueueUrl=url)

    def _answers(self) -> bool:
        self._process.check()
        try:
            return requests.get(f"{self.endpoint}/moto-api/", timeout=30).ok
        except (requests.ConnectionError, requests.Timeout):
            return False


def _keys() -> dict[str, Any]:
    return {name.lower(): value for name, value in CREDENTIALS.items()}
