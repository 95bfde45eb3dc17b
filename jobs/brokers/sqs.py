"""The Amazon SQS broker: messages with job ids wake the workers. The rows stay the truth, so a purge costs seconds."""

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

from jobs.brokers.messages import ANNOUNCED_WITHIN, Channel, Tickets, WakesByMessage
from jobs.models import DEFAULT_QUEUE

log = structlog.get_logger(__name__)

BATCH = 10
"""Messages that one call sends, receives or deletes: SQS allows no more."""
HELD = 30
"""Seconds for which a plain task that was received and not begun is hidden from others: its worker may be stopped."""
TICKET = "job:"
"""How the body of a message begins that is not a plain django-q task but a job's id."""
UNSERVED = 60.0
"""Seconds for which a queue of its own that is not there, or that we may not use, is not announced to."""
NOT_ALLOWED = re.compile("[^A-Za-z0-9_-]")
"""In the name of an SQS queue (Amazon SQS, CreateQueue, QueueName)."""
MISSING = ("AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist")
AWAY = (BotoCoreError, ClientError)

Message = dict[str, Any]


class SQS(WakesByMessage, Broker):  # type: ignore[misc]
    """One SQS queue for all jobs, and for each queue but the default another one, with its name behind a hyphen.

    I/O workers have queues of their own, whose names end in -threads.
    """

    WAIT = 5.0

    def __init__(self, list_key: str | None = None) -> None:
        super().__init__(list_key)
        self._urls: dict[str, str] = {}
        self._unserved_until: dict[str, float] = {}
        self._received: list[Message] | None = None
        self._held_until = 0.0

    @staticmethod
    def get_connection(list_key: str | None = None) -> Any:
        return _client(connect_timeout=3, read_timeout=SQS.WAIT + 5, retries={"max_attempts": 1})

    @cached_property
    def _for_announcements(self) -> Any:
        return _client(
            connect_timeout=ANNOUNCED_WITHIN, read_timeout=ANNOUNCED_WITHIN, retries={"total_max_attempts": 1}
        )

    def tell(self, tickets: Tickets) -> None:
        """The queue of all comes first, and what is wrong with that of one keeps nobody from being told there."""
        needed = {_name((queue, for_pools)) for queue in (Conf.PREFIX, self.list_key) for for_pools in (False, True)}
        for name, ids in _by_name(tickets).items():
            if name in needed:
                self._send(name, ids)
            else:
                self._send_if_served(name, ids)

    def enqueue(self, task: str) -> str:
        """A plain django-q task."""
        sent: str = self._ask("send_message", MessageBody=task)["MessageId"]
        return sent

    def dequeue(self) -> list[tuple[str, str]] | None:
        """Up to `bulk` plain django-q tasks that have arrived; None, at once, if there is none."""
        nothing: list[Message] = []
        return [(task["ReceiptHandle"], task["Body"]) for task in self._breaker.attempt(self._take, nothing)] or None

    def acknowledge(self, receipt: str) -> None:
        """Not to come again; should SQS be away at this moment, it does."""
        try:
            self._ask("delete_message", ReceiptHandle=receipt)
        except AWAY:
            log.warning("broker_unavailable", exc_info=True)

    fail = delete = acknowledge

    def release(self, receipt: str) -> None:
        """Let any worker have the task again at once; should SQS be away at this moment, after `retry` seconds."""
        try:
            self._ask("change_message_visibility", ReceiptHandle=receipt, VisibilityTimeout=0)
        except AWAY:
            log.warning("broker_unavailable", exc_info=True)

    def listen(self) -> None:
        self._receive(int(self.WAIT))

    def queue_size(self) -> int:
        return self._count("ApproximateNumberOfMessages")

    def lock_size(self) -> int:
        return self._count("ApproximateNumberOfMessagesNotVisible")

    def purge_queue(self) -> None:
        self._ask("purge_queue")

    def delete_queue(self) -> None:
        """Of a name that is made anew at its next use; AWS allows that after a minute."""
        self._ask("delete_queue")
        self._urls.pop(_name(self.channel), None)

    def ping(self) -> bool:
        """Raises what AWS answers when the queue cannot be used."""
        self._ask("get_queue_attributes", AttributeNames=["QueueArn"])
        return True

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
        answer = self._ask(
            "receive_message", MaxNumberOfMessages=BATCH, WaitTimeSeconds=seconds, VisibilityTimeout=HELD
        )
        messages: list[Message] = answer.get("Messages", [])
        # A ticket has done its work when a worker wakes: the job's lease, not the message, keeps it from being lost.
        tickets = [message for message in messages if message["Body"].startswith(TICKET)]
        plain = [message for message in messages if message not in tickets]
        # As many as are begun now; the others are for whoever is free.
        self._received, self._held_until = plain[: Conf.BULK], monotonic() + HELD / 2
        for task in plain[Conf.BULK :]:
            self._hide(task, 0)
        if tickets:
            entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(tickets)]
            self._ask("delete_message_batch", Entries=entries)

    def _hide(self, message: Message, seconds: int) -> None:
        """From everybody, for so many seconds from now."""
        self._ask("change_message_visibility", ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=seconds)

    def _count(self, name: str) -> int:
        return int(self._ask("get_queue_attributes", AttributeNames=[name])["Attributes"][name])

    def _send(self, name: str, ids: list[str]) -> None:
        self._ask("send_message_batch", name, self._for_announcements, Entries=_entries(ids))

    def _send_if_served(self, name: str, ids: list[str]) -> None:
        """To the queue of a cluster that serves only one, and has made it: nobody would empty one that we made."""
        if monotonic() < self._unserved_until.get(name, 0):
            return
        try:
            url = self._urls[name] = self._urls.get(name) or _find(self._for_announcements, name)
            self._for_announcements.send_message_batch(QueueUrl=url, Entries=_entries(ids))
        except AWAY as error:
            self._urls.pop(name, None)
            self._unserved_until[name] = monotonic() + UNSERVED
            if not _is_missing(error):
                log.warning("queue_not_announced_to", queue=name, exc_info=True)

    def _ask(self, call: str, name: str | None = None, client: Any = None, **what: Any) -> Any:
        """Call for an SQS queue, this cluster's own by default; one that has been deleted meanwhile is made anew."""
        name, client = name or _name(self.channel), client or self.connection
        try:
            return getattr(client, call)(QueueUrl=self._url(name, client), **what)
        except ClientError as error:
            if not _is_missing(error):
                raise
        self._urls.pop(name, None)
        return getattr(client, call)(QueueUrl=self._url(name, client), **what)

    def _url(self, name: str, client: Any) -> str:
        """Where the SQS queue of this name is; it is made when there is none and we are allowed to."""
        if name not in self._urls:
            self._urls[name] = _find_or_make(client, name)
        return self._urls[name]


def _client(**patience: Any) -> Any:
    location = {"region_name": settings.BROKER["region"], "endpoint_url": settings.BROKER["endpoint"]}
    return boto3.client("sqs", config=Config(**patience), **location)


def _name(channel: Channel) -> str:
    """The name of the SQS queue for this channel. Characters that SQS does not allow become two hyphens."""
    queue, for_pools = channel
    suffix = "" if queue in (Conf.PREFIX, DEFAULT_QUEUE) else f"-{NOT_ALLOWED.sub('--', queue)}"
    return f"{settings.BROKER['queue']}{suffix}{'-threads' if for_pools else ''}"


def _entries(ids: list[str]) -> list[dict[str, str]]:
    return [{"Id": str(n), "MessageBody": TICKET + each} for n, each in enumerate(ids)]


def _by_name(tickets: Tickets) -> dict[str, list[str]]:
    """The tickets for each SQS queue; two queues may have the same one, and what was said first is enough for it."""
    found: dict[str, list[str]] = {}
    for channel, ids in tickets.items():
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
