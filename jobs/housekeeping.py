"""What is thrown away, and when. Apps add their own chores with @hourly; the dispatcher does them all once an hour."""

from collections.abc import Callable
from datetime import timedelta

import structlog
from django.conf import settings
from django.utils import timezone

from jobs.models import IdempotencyKey, Job
from jobs.queue import delete_in_batches

log = structlog.get_logger(__name__)

Chore = Callable[[], int]
KEYS_ARE_KEPT = timedelta(hours=24)

_chores: list[Chore] = []


def hourly(chore: Chore) -> Chore:
    """Register a function that throws something away and returns how many; it may run in several places at once."""
    _chores.append(chore)
    return chore


def do_all() -> None:
    for chore in _chores:
        if count := chore():
            log.info("pruned", what=chore.__name__, count=count)


@hourly
def finished_jobs() -> int:
    """Jobs past settings.JOB_RETENTION: how long those of each final status are kept."""
    now = timezone.now()
    return sum(Job.objects.prune(status, now - kept) for status, kept in settings.JOB_RETENTION.items())


@hourly
def idempotency_keys() -> int:
    return delete_in_batches(IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEYS_ARE_KEPT))
