"""The Amazon SQS broker: messages with job ids wake the workers. Jobs are in the database: a purge delays them."""

import re
from functools import cached_property
from time import monotonic
from typing import Any

import boto3
import structlog
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from django.conf import settings
from django_q.brokers import Broker
from django_q.conf import Conf

from jobs.brokers.messages import NOTIFY_TIMEOUT, WakeupBroker
from jobs.brokers.wakeups import Channel, Wakeups
from jobs.models import DEFAULT_QUEUE
from rest import outage

log = structlog.get_logger(__name__)

BATCH = 10
"""Messages per call that sends, receives or deletes: the limit of SQS."""
VISIBILITY = 30
"""Visibility timeout in seconds of a plain task that was received and not started: its worker may be stopped."""
WAKEUP_PREFIX = "job:"
"""Prefix of a message's body that is a job's id and not a plain django-q task."""
MISSING_QUEUE_PAUSE = 60.0
"""Seconds for which a queue that does not exist, or that we may not use, gets no messages."""
INVALID_CHARACTER = re.compile("[^A-Za-z0-9_-]")
"""In the name of an SQS queue (Amazon SQS, CreateQueue, QueueName)."""
MISSING = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
UNAVAILABLE = (BotoCoreError, ClientError)

Message = dict[str, Any]


class SQS(WakeupBroker, Broker):  # type: ignore[misc]
    """Uses one SQS queue for all jobs, and for each queue but the default one another SQS queue: NAME-queue.

    I/O workers have SQS queues of their own: NAME-threads, NAME-queue-threads.
    """

    WAIT = 5.0

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._urls: dict[str, str] = {}
        self._missing_until: dict[str, float] = {}
        self._received: list[Message] | None = None
        self._hidden_until = 0.0

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        return _client(connect_timeout=3, read_timeout=SQS.WAIT + 5, retries={"max_attempts": 1})

    @cached_property
    def _notify_client(self) -> Any:
        return _client(connect_timeout=NOTIFY_TIMEOUT, read_timeout=NOTIFY_TIMEOUT, retries={"total_max_attempts": 1})

    def send_wakeups(self, wakeups: Wakeups) -> None:
        """Workers of all queues are woken first, so that an error with one queue's SQS queue cannot prevent it."""
        needed = {_name((queue, for_pools)) for queue in (Conf.PREFIX, self.list_key) for for_pools in (False, True)}
        for name, ids in _by_name(wakeups).items():
            if name in needed:
                self._ask("send_message_batch", name, self._notify_client, Entries=_entries(ids))
            else:
                self._send_if_served(name, ids)

    def enqueue(self, task: str) -> str:
        """Send a plain django-q task; returns its message id."""
        sent: str = self._ask("send_message", MessageBody=task)["MessageId"]
        return sent

    def dequeue(self) -> list[tuple[str, str]] | None:
        """Up to `bulk` plain django-q tasks that have arrived. None, without waiting, if there is none."""
        nothing: list[Message] = []
        return [(task["ReceiptHandle"], task["Body"]) for task in self._breaker.call(self._dequeue, nothing)] or None

    def acknowledge(self, receipt: str) -> None:
        """Delete the message. If SQS is unreachable now, the task is delivered again."""
        try:
            self._ask("delete_message", ReceiptHandle=receipt)
        except UNAVAILABLE as error:
            outage.broker.note(error)

    fail = delete = acknowledge

    def release(self, receipt: str) -> None:
        """Make the task available to any worker at once; after `retry` seconds if SQS is unreachable now."""
        try:
            self._ask("change_message_visibility", ReceiptHandle=receipt, VisibilityTimeout=0)
        except UNAVAILABLE as error:
            outage.broker.note(error)

    def listen(self) -> None:
        self._receive(int(self.WAIT))

    def queue_size(self) -> int:
        return self._count("ApproximateNumberOfMessages")

    def lock_size(self) -> int:
        return self._count("ApproximateNumberOfMessagesNotVisible")

    def purge_queue(self) -> None:
        self._ask("purge_queue")

    def delete_queue(self) -> None:
        """The next use creates the queue again, which AWS allows after a minute."""
        self._ask("delete_queue")
        self._urls.pop(_name(self.channel), None)

    def ping(self) -> bool:
        """Raises the error of AWS if the queue cannot be used."""
        self._ask("get_queue_attributes", AttributeNames=["QueueArn"])
        return True

    def info(self) -> str:
        return "Amazon SQS"

    def _dequeue(self) -> list[Message]:
        """The tasks that the last wait received, if they are still hidden from others; polls if there was no wait."""
        if self._received is None:
            self._receive(0)
        received, self._received = self._received or [], None
        if monotonic() > self._hidden_until:
            return []
        for task in received:
            self._hide(task, Conf.RETRY)
        return received

    def _receive(self, seconds: int) -> None:
        answer = self._ask(
            "receive_message", MaxNumberOfMessages=BATCH, WaitTimeSeconds=seconds, VisibilityTimeout=VISIBILITY
        )
        messages: list[Message] = answer.get("Messages", [])
        # A wakeup is deleted once it has woken a worker: the job is kept by its row, not by the message.
        wakeups = [message for message in messages if message["Body"].startswith(WAKEUP_PREFIX)]
        plain = [message for message in messages if message not in wakeups]
        # Keep as many as this worker starts now, release the others.
        self._received, self._hidden_until = plain[: Conf.BULK], monotonic() + VISIBILITY / 2
        for task in plain[Conf.BULK :]:
            self._hide(task, 0)
        if wakeups:
            entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(wakeups)]
            self._ask("delete_message_batch", Entries=entries)

    def _hide(self, message: Message, seconds: int) -> None:
        """Hide it from all consumers for this many seconds from now."""
        self._ask("change_message_visibility", ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds)

    def _count(self, name: str) -> int:
        return int(self._ask("get_queue_attributes", AttributeNames=[name])["Attributes"][name])

    def _send_if_served(self, name: str, ids: list[str]) -> None:
        """Send to another cluster's SQS queue, if that cluster has created it: nobody would empty one made here."""
        if monotonic() < self._missing_until.get(name, 0):
            return
        try:
            url = self._urls[name] = self._urls.get(name) or _find(self._notify_client, name)
            self._notify_client.send_message_batch(QueueUrl=url, Entries=_entries(ids))
        except UNAVAILABLE as error:
            self._urls.pop(name, None)
            self._missing_until[name] = monotonic() + MISSING_QUEUE_PAUSE
            if not _is_missing(error):
                log.warning("queue_not_notified", queue=name, exc_info=True)

    def _ask(self, call: str, name: str | None = None, client: Any = None, **what: Any) -> Any:
        """Call SQS for a queue, by default the one of this process; a queue deleted meanwhile is created again."""
        name, client = name or _name(self.channel), client or self.connection
        try:
            return getattr(client, call)(QueueUrl=self._url(name, client), **what)
        except ClientError as error:
            if not _is_missing(error):
                raise
        self._urls.pop(name, None)
        return getattr(client, call)(QueueUrl=self._url(name, client), **what)

    def _url(self, name: str, client: Any) -> str:
        """The URL of the SQS queue of this name, which is created if it is missing."""
        if name not in self._urls:
            self._urls[name] = _find_or_make(client, name)
        return self._urls[name]


def _client(**config: Any) -> Any:
    location = {"region_name": settings.BROKER["region"], "endpoint_url": settings.BROKER["endpoint"]}
    return boto3.client("sqs", config=Config(**config), **location)


def _name(channel: Channel) -> str:
    """The name of the SQS queue for this channel. A character that SQS does not allow becomes two hyphens."""
    queue, for_pools = channel
    suffix = "" if queue in (Conf.PREFIX, DEFAULT_QUEUE) else f"-{INVALID_CHARACTER.sub('--', queue)}"
    return f"{settings.BROKER['queue']}{suffix}{'-threads' if for_pools else ''}"


def _entries(ids: list[str]) -> list[dict[str, str]]:
    return [{"Id": str(n), "MessageBody": WAKEUP_PREFIX + each} for n, each in enumerate(ids)]


def _by_name(wakeups: Wakeups) -> dict[str, list[str]]:
    """Message bodies by SQS queue. Two channels may share one; the messages of the first are enough for it."""
    found: dict[str, list[str]] = {}
    for channel, ids in wakeups.items():
        found.setdefault(_name(channel), ids)
    return found


def _find(client: Any, name: str) -> str:
    url: str = client.get_queue_url(QueueName=name)["QueueUrl"]
    return url


def _find_or_make(client: Any, name: str) -> str:
    try:
        return _find(client, name)
    except ClientError as error:
        if not _is_missing(error):
            raise
    url: str = client.create_queue(QueueName=name)["QueueUrl"]
    return url


def _is_missing(error: Exception) -> bool:
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in MISSING
