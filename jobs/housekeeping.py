"""What is done now and then: apps add chores with @hourly or @every(minutes=…), dispatchers do what is due."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog
from django.conf import settings
from django.utils import timezone

from jobs.models import IdempotencyKey, Job
from jobs.queue import delete_in_batches

log = structlog.get_logger(__name__)

Chore = Callable[[], int]
KEYS_ARE_KEPT = timedelta(hours=24)


@dataclass(slots=True)
class Turn:
    """A chore and when this process does it next, by its monotonic clock; at first at once."""

    chore: Chore
    seconds: float
    due_at: float = 0.0


_turns: list[Turn] = []


def every(*, minutes: float) -> Callable[[Chore], Chore]:
    """Register a function that does something quick and returns how many; it may run in several places at once."""

    def register(chore: Chore) -> Chore:
        _turns.append(Turn(chore, minutes * 60))
        return chore

    return register


hourly = every(minutes=60)


def do_what_is_due() -> None:
    """What fails is due again in the next round."""
    for turn in _turns:
        if time.monotonic() >= turn.due_at:
            if count := turn.chore():
                log.info("chore_done", what=turn.chore.__name__, count=count)
            turn.due_at = time.monotonic() + turn.seconds


@hourly
def finished_jobs() -> int:
    """Jobs past settings.JOB_RETENTION: how long those of each final status are kept."""
    now = timezone.now()
    return sum(Job.objects.prune(status, now - kept) for status, kept in settings.JOB_RETENTION.items())


@hourly
def idempotency_keys() -> int:
    return delete_in_batches(IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEYS_ARE_KEPT))
