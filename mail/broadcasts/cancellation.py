"""Cancels a broadcast: no more messages are made or released, and those not sent yet are cancelled."""

from contextlib import suppress
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models.functions import Now

from jobs.cancellation import cancel
from jobs.errors import AlreadyFinished, RetryAfter
from jobs.models import Job
from jobs.submit import submit
from mail.errors import NothingToCancel
from mail.models import Broadcast, Event, Message
from mail.models.queryset import MessageQuerySet
from mail.status import Status

log = structlog.get_logger(__name__)

KIND = "mail.broadcast_cancellation"
BATCH_SIZE = 500


def cancel_with_job(broadcast: Broadcast) -> None:
    """Cancel a broadcast and the job that makes its messages. Raises NothingToCancel."""
    job = Job.objects.unfinished().filter(pk=broadcast.pk).first()
    if job is None and broadcast.cancelled_at is None and not _unsent(broadcast.pk).exists():
        raise NothingToCancel(broadcast.pk)
    with suppress(AlreadyFinished):
        if job:
            cancel(job)
    cancel_broadcast(broadcast.pk)


def cancel_broadcast(broadcast_id: UUID) -> None:
    """Cancel queued messages now. Those that wait for their release are never released, and a job cancels them."""
    with transaction.atomic():
        if not Broadcast.objects.filter(pk=broadcast_id, cancelled_at=None).update(cancelled_at=Now()):
            return
        queued = _unsent(broadcast_id).filter(awaits_release=False)
        while _cancel_batch(queued):
            pass
        if _unsent(broadcast_id).exists():
            submit(KIND, {"broadcast": str(broadcast_id)})
    log.info("broadcast_cancelled", broadcast_id=str(broadcast_id))


def cancel_unsent(broadcast_id: UUID) -> int:
    """The job mail.broadcast_cancellation. Returns how many messages it cancelled.

    Raises RetryAfter while other transactions have locked some.
    """
    cancelled = 0
    while count := _cancel_batch(_unsent(broadcast_id)):
        cancelled += count
    if _unsent(broadcast_id).exists():
        raise RetryAfter(1, "the other messages are locked")
    return cancelled


def _unsent(broadcast_id: UUID) -> MessageQuerySet:
    found: MessageQuerySet = Message.objects.filter(
        broadcast=broadcast_id, status__in=(Status.SCHEDULED, Status.QUEUED)
    )
    return found


def _cancel_batch(messages: MessageQuerySet) -> int:
    with transaction.atomic():
        ids = list(messages.select_for_update(skip_locked=True).values_list("pk", flat=True)[:BATCH_SIZE])
        Message.objects.filter(pk__in=ids).update(status=Status.CANCELLED, finished_at=Now())
        Event.objects.bulk_create(
            [Event(message_id=pk, source=Event.Source.OURS, type="cancelled") for pk in ids], batch_size=BATCH_SIZE
        )
    return len(ids)
