"""The messages of a broadcast are queued in portions, so that the queue never holds more than a window of each.

What waits for its release has no job. Dispatchers release the next portion once a second (mail.maintenance).
"""

from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now

from jobs import submit as jobs
from mail.importance import PRIORITY, Importance
from mail.models import Broadcast, Message
from mail.models.queryset import MessageQuerySet
from mail.sending import pacing
from mail.status import PENDING, Status
from mail.submit import SEND_BULK, patience_from_now

log = structlog.get_logger(__name__)

WINDOW = 2000
"""Messages of one broadcast that are queued at the same time, where no rate makes them fewer."""


def room(broadcast_id: UUID) -> int:
    """How many messages of this broadcast may be queued now."""
    if _awaiting(broadcast_id).exists() or not Broadcast.objects.to_release().filter(pk=broadcast_id).exists():
        return 0
    return _room(broadcast_id)


def next_portions() -> int:
    """Queue the next portion of each broadcast; returns how many messages."""
    awaiting = Message.objects.filter(broadcast=OuterRef("pk"), awaits_release=True, status__in=PENDING)
    found = Broadcast.objects.to_release().filter(Exists(awaiting)).order_by("created_at")
    return sum(map(release, list(found.values_list("pk", flat=True))))


def release(broadcast_id: UUID) -> int:
    """Queue the next portion of this broadcast, unless another process does so now; returns how many messages."""
    with transaction.atomic():
        rows = Broadcast.objects.to_release().select_for_update(skip_locked=True).defer("recipients", "refused")
        broadcast = rows.filter(pk=broadcast_id).first()
        if broadcast is None:
            return 0
        if broadcast.is_expired():
            _expire(broadcast_id)
        count = _queue(broadcast, _room(broadcast_id))
        note_the_end(broadcast_id)
    if count:
        log.info("broadcast_released", broadcast_id=str(broadcast_id), count=count)
    return count


def note_the_end(broadcast_id: UUID) -> None:
    """Once all messages were made and released, the broadcast is not looked at any more."""
    if not _awaiting(broadcast_id).exists():
        Broadcast.objects.filter(pk=broadcast_id, finished_at__isnull=False).update(released_at=Now())


def _queue(broadcast: Broadcast, count: int) -> int:
    ids = list(_awaiting(broadcast.pk).order_by("row").values_list("pk", flat=True)[: max(count, 0)])
    if not ids:
        return 0
    importance = Importance(broadcast.importance)
    job_ids = jobs.submit_many(SEND_BULK, [{"message": str(pk)} for pk in ids], priority=PRIORITY[importance])
    changes = {"awaits_release": False, "expires_at": broadcast.expires_at or patience_from_now(importance)}
    messages = [Message(pk=pk, job_id=job_id, **changes) for pk, job_id in zip(ids, job_ids, strict=True)]
    Message.objects.bulk_update(messages, ["job_id", *changes], batch_size=500)
    return len(ids)


def _expire(broadcast_id: UUID) -> None:
    _awaiting(broadcast_id).update(status=Status.EXPIRED, finished_at=Now())


def _awaiting(broadcast_id: UUID) -> MessageQuerySet:
    return Message.objects.pending().filter(broadcast=broadcast_id, awaits_release=True)


def _room(broadcast_id: UUID) -> int:
    return (
        pacing.window(WINDOW) - Message.objects.pending().filter(broadcast=broadcast_id, awaits_release=False).count()
    )
