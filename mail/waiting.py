"""Messages that wait because no provider is free: how long, and the end of it."""

import random

import structlog
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models import Job
from jobs.states import Status as JobStatus
from mail import providers
from mail.consequences import SEND
from mail.models import Message

log = structlog.get_logger(__name__)

SHORTEST = 1.0
"""Seconds."""


def seconds(message: Message) -> float:
    """Until a provider may take it, and a little more: not all come back in the same moment. Not past its expiry."""
    now = timezone.now()
    free = providers.next_free(message.importance) or now
    wait = max((free - now).total_seconds(), SHORTEST)
    until_expiry = max((message.expires_at - now).total_seconds(), SHORTEST)
    return min(wait * (1 + random.random() / 10), until_expiry)  # noqa: S311 nobody gains by guessing it


def end() -> None:
    """A provider takes mail again: whatever waits, for it or after a failure, need not wait any longer."""
    count = Job.objects.filter(kind=SEND, status=JobStatus.RETRYING, run_at__gt=Now()).update(run_at=Now())
    log.info("mail_waits_no_longer", count=count)
