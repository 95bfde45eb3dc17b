"""The Amazon SQS broker: messages with job ids wake the workers. The rows stay the truth, so a purge costs seconds."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django_q.brokers import Broker
from django_q.conf import Conf

from jobs.brokers.claims import ClaimsJobs
from jobs.models import DEFAULT_QUEUE, Job

log = structlog.get_logger(__name__)

WAIT = 5
"""Seconds of one long poll: an idle worker asks twelve times a minute, and is stopped within them."""
BATCH = 10
"""Messages that one call sends, receives or deletes: SQS allows no more."""
HELD = 30
"""Seconds for which a plain task that was received and not begun is hidden from others: its worker may be stopped."""
TICKET = "job:"
"""How the body of a message begins that is not a plain django-q task but a job's id."""
MISSING = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
AWAY = (BotoCoreError, ClientError)

Message = dict[str, Any]


class SQS(ClaimsJobs, Broker):  # type: ignore[misc]
    """One SQS queue for all jobs, and for each queue but the default another one, with its name behind a hyphen."""

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._urls: dict[str, str] = {}
        self._received: list[Message] | None = None
        self._held_until = 0.0

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        config = Config(connect_timeout=3, read_timeout=WAIT + 5, retries={"max_attempts": 1})
        location = {"region_name": settings.BROKER["region"], "endpoint_url": settings.BROKER["endpoint"]}
        return boto3.client("sqs", config=config, **location)

    def announce(self, jobs: Iterable[Job]) -> None:
        """Wake a worker for each. An SQS that is away delays them, for their rows are stored."""
        ids: dict[str, list[str]] = defaultdict(list)
        for job in jobs:
            ids[job.queue].append(str(job.pk))
        with self._outlived():
            for queue, of_queue in ids.items():
                self._send(queue, of_queue)

    def enqueue(self, task: str) -> str:
        """A plain django-q task."""
        sent: str = self.connection.send_message(QueueUrl=self._url(self.list_key), MessageBody=task)["MessageId"]
        return sent

    def dequeue(self) -> list[tuple[str, str]]:
        """A plain django-q task, if one has arrived: where a worker waits is wait()."""
        with self._outlived():
            return [(task["ReceiptHandle"], task["Body"]) for task in self._take()]
        return []

    def acknowledge(self, receipt: str) -> None:
        """Not to come again; should SQS be away at this moment, it does."""
        with self._outlived():
            self.connection.delete_message(QueueUrl=self._url(self.list_key), ReceiptHandle=receipt)

    fail = delete = acknowledge

    def wait(self) -> None:
        """Until a message arrives, at most WAIT seconds."""
        with self._outlived():
            return self._receive(WAIT)
        sleep(WAIT)

    def queue_size(self) -> int:
        return self._count("ApproximateNumberOfMessages")

    def lock_size(self) -> int:
        return self._count("ApproximateNumberOfMessagesNotVisible")

    def purge_queue(self) -> None:
        self.connection.purge_queue(QueueUrl=self._url(self.list_key))

    def info(self) -> str:
        return "Amazon SQS"

    def _take(self) -> list[Message]:
        """What has been received and is still ours; a worker that is too busy to wait has a look instead."""
        if self._received is None:
            self._receive(0)
        received, self._received = self._received or [], None
        if monotonic() > self._held_until:
            return []
        for task in received:
            self._hide(task, Conf.RETRY)
        return received

    def _receive(self, seconds: int) -> None:
        url = self._url(self.list_key)
        answer = self.connection.receive_message(
            QueueUrl=url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=seconds, VisibilityTimeout=HELD
        )
        messages: list[Message] = answer.get("Messages", [])
        # A ticket has done its work when a worker wakes: the job's lease, not the message, keeps it from being lost.
        tickets = [message for message in messages if message["Body"].startswith(TICKET)]
        plain = [message for message in messages if message not in tickets]
        # One is begun at once; the others are for whoever is free.
        self._received, self._held_until = plain[:1], monotonic() + HELD / 2
        for task in plain[1:]:
            self._hide(task, 0)
        if tickets:
            entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(tickets)]
            self.connection.delete_message_batch(QueueUrl=url, Entries=entries)

    def _hide(self, message: Message, seconds: int) -> None:
        """From everybody, for so many seconds from now."""
        self.connection.change_message_visibility(
            QueueUrl=self._url(self.list_key), ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds
        )

    def _count(self, name: str) -> int:
        answer = self.connection.get_queue_attributes(QueueUrl=self._url(self.list_key), AttributeNames=[name])
        return int(answer["Attributes"][name])

    @contextmanager
    def _outlived(self) -> Iterator[None]:
        """An SQS that is away ends nobody's work; the queues are looked for anew, for they may have been deleted."""
        try:
            yield
        except AWAY:
            self._urls.clear()
            log.warning("broker_unavailable", exc_info=True)

    def _send(self, queue: str, ids: list[str]) -> None:
        for start in range(0, len(ids), BATCH):
            entries = [
                {"Id": str(n), "MessageBody": TICKET + each} for n, each in enumerate(ids[start : start + BATCH])
            ]
            for url in {self._url(Conf.PREFIX), self._url(queue)}:
                self.connection.send_message_batch(QueueUrl=url, Entries=entries)

    def _url(self, queue: str) -> str:
        """The URL of the SQS queue for this queue; made when there is none and we are allowed to."""
        if queue not in self._urls:
            name = settings.BROKER["queue"] + (f"-{queue}" if queue not in (Conf.PREFIX, DEFAULT_QUEUE) else "")
            self._urls[queue] = self._find_or_make(name)
        return self._urls[queue]

    def _find_or_make(self, name: str) -> str:
        try:
            url: str = self.connection.get_queue_url(QueueName=name)["QueueUrl"]
        except ClientError as error:
            if error.response["Error"]["Code"] not in MISSING:
                raise
            url = self.connection.create_queue(QueueName=name)["QueueUrl"]
        return url
