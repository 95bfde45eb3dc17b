"""Messages that wait because they cannot be sent now: for how long, and their release."""

import random
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

import structlog
from django.db.models.functions import Now
from django.utils import timezone

from jobs.errors import RetryAfter
from jobs.models import Job
from jobs.models.states import Status as JobStatus
from mail.importance import Importance
from mail.models import Message, RateBucket, Stream
from mail.providers import breakers, refused_senders, select
from mail.submit import SENDING

log = structlog.get_logger(__name__)

SHORTEST_WAIT = 1.0
"""Seconds."""
STREAM_CHECK_INTERVAL = timedelta(hours=1)
"""While a stream is stopped. Resuming it releases its mail at once."""


def hold_if_stream_stopped(message: Message) -> None:
    """Raises RetryAfter if the guard has stopped its stream, unless the mail is critical."""
    if not message.stream or message.importance == Importance.CRITICAL:
        return
    if Stream.objects.filter(user=message.user_id, name=message.stream, stopped_at__isnull=False).exists():
        raise RetryAfter(_spread(message, timezone.now() + STREAM_CHECK_INTERVAL), "its stream is stopped")


def hold_if_domain_slowed(message: Message) -> None:
    """Raises RetryAfter for bulk mail to a domain whose server blocks us."""
    if message.importance != Importance.BULK:
        return
    if until := breakers.slow_until(message.address.rpartition("@")[2]):
        raise RetryAfter(_spread(message, until), "the recipient's domain gets no bulk mail for a while")


def seconds_until_free(message: Message, excluded: Collection[str]) -> float:
    """Seconds until a provider that is not excluded may take it."""
    return _spread(message, select.next_free_at(message.importance, excluded, message.sender) or timezone.now())


def record_success(provider: str, accepted: Iterable[str] = ()) -> None:
    """It has answered properly: its breaker closes, and if it was open, waiting mail is released.

    accepted: the senders (From headers) of the mail that it accepted, which it refuses no longer.
    """
    was_refused = refused_senders.record_acceptance(provider, accepted)
    if breakers.record_success(provider) or was_refused:
        release()


def release() -> None:
    """A provider accepts mail again: make all waiting jobs due, whatever they wait for.

    Only after CACHE_SECONDS: a process that still believes the breaker open would make them wait again.
    """
    RateBucket.objects.plan_anew()
    soon = Now() + timedelta(seconds=breakers.CACHE_SECONDS)
    count = Job.objects.filter(kind__in=SENDING, status=JobStatus.RETRYING, run_at__gt=soon).update(run_at=soon)
    log.info("waiting_mail_released", count=count)


def _spread(message: Message, until: datetime) -> float:
    """Seconds until then, up to a tenth more so that not all come back at once, and not past its expiry."""
    now = timezone.now()
    wait = max((until - now).total_seconds(), SHORTEST_WAIT)
    until_expiry = max((message.expires_at - now).total_seconds(), SHORTEST_WAIT)
    return min(wait * (1 + random.random() / 10), until_expiry)  # noqa: S311 not a secret
