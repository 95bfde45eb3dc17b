"""Messages that wait because nobody would take them now: how long, and the end of it."""

import random
from collections.abc import Collection
from datetime import datetime, timedelta

import structlog
from django.db.models.functions import Now
from django.utils import timezone

from jobs.errors import RetryAfter
from jobs.models import Job
from jobs.models.states import Status as JobStatus
from mail.importance import Importance
from mail.models import Message, Stream
from mail.providers import breakers, select
from mail.submit import SENDING

log = structlog.get_logger(__name__)

SHORTEST = 1.0
"""Seconds."""
WHILE_STOPPED = timedelta(hours=1)
"""Between two looks at a stream that is stopped; whoever resumes it has its mail sent at once."""


def for_a_stopped_stream(message: Message) -> None:
    """Raises RetryAfter for mail that is not critical while the guard keeps its stream back."""
    if not message.stream or message.importance == Importance.CRITICAL:
        return
    if Stream.objects.filter(user=message.user_id, name=message.stream, stopped_at__isnull=False).exists():
        raise RetryAfter(_spread(message, timezone.now() + WHILE_STOPPED), "its stream is stopped")


def for_a_slow_domain(message: Message) -> None:
    """Raises RetryAfter for bulk mail while its recipient's server blocks us."""
    if message.importance != Importance.BULK:
        return
    if until := breakers.slow_until(message.address.rpartition("@")[2]):
        raise RetryAfter(_spread(message, until), "the recipient's domain is to be left alone for a while")


def seconds(message: Message, without: Collection[str] = ()) -> float:
    """Until a provider may take it. without: not these."""
    return _spread(message, select.next_free(message.importance, without) or timezone.now())


def end() -> None:
    """A provider takes mail again: whatever waits, for it or after a failure, need not wait any longer.

    Than until all processes have seen that: one that has not would let it wait as long once more.
    """
    soon = Now() + timedelta(seconds=breakers.LOOK_EVERY)
    count = Job.objects.filter(kind__in=SENDING, status=JobStatus.RETRYING, run_at__gt=soon).update(run_at=soon)
    log.info("mail_waits_no_longer", count=count)


def _spread(message: Message, until: datetime) -> float:
    """Seconds until then and a little more, as not all may come back in the same moment; but not past its expiry."""
    now = timezone.now()
    wait = max((until - now).total_seconds(), SHORTEST)
    until_expiry = max((message.expires_at - now).total_seconds(), SHORTEST)
    return min(wait * (1 + random.random() / 10), until_expiry)  # noqa: S311 nobody gains by guessing it
