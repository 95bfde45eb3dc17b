"""Queues the messages of a broadcast in portions, so that the queue never holds more than a window of each.

A message that waits for its release has no job. Dispatchers release the next portion once a second (mail.maintenance).
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
from mail.submit import SEND_BULK, default_expiry

log = structlog.get_logger(__name__)

WINDOW = 2000
"""How many messages of one broadcast are queued at the same time; fewer if a sending rate limits them."""


def room(broadcast_id: UUID) -> int:
    """How many new messages of this broadcast may be queued at once. 0: others wait already, or it was stopped."""
    if _awaiting(broadcast_id).exists() or not Broadcast.objects.to_release().filter(pk=broadcast_id).exists():
        return 0
    return _free_slots(broadcast_id)


def release_all() -> int:
    """Queue the next portion of each broadcast. Returns how many messages."""
    awaiting = Message.objects.filter(broadcast=OuterRef("pk"), awaits_release=True, status__in=PENDING)
    found = Broadcast.objects.to_release().filter(Exists(awaiting)).order_by("created_at")
    return sum(map(release, list(found.values_list("pk", flat=True))))


def release(broadcast_id: UUID) -> int:
    """Queue the next portion of this broadcast, unless another process does so now. Returns how many messages."""
    with transaction.atomic():
        rows = Broadcast.objects.to_release().select_for_update(skip_locked=True).defer("recipients", "refused")
        broadcast = rows.filter(pk=broadcast_id).first()
        if broadcast is None:
            return 0
        if broadcast.is_expired():
            _awaiting(broadcast_id).update(status=Status.EXPIRED, finished_at=Now())
        count = _queue_next(broadcast, _free_slots(broadcast_id))
        mark_released(broadcast_id)
    if count:
        log.info("broadcast_released", broadcast_id=str(broadcast_id), count=count)
    return count


def mark_released(broadcast_id: UUID) -> None:
    """Set released_at once all messages were made and released: from then on release_all() skips the broadcast."""
    if not _awaiting(broadcast_id).exists():
        Broadcast.objects.filter(pk=broadcast_id, finished_at__isnull=False).update(released_at=Now())


def _queue_next(broadcast: Broadcast, count: int) -> int:
    ids = list(_awaiting(broadcast.pk).order_by("row").values_list("pk", flat=True)[:count])
    if not ids:
        return 0
    importance = Importance(broadcast.importance)
    job_ids = jobs.submit_many(SEND_BULK, [{"message": str(pk)} for pk in ids], priority=PRIORITY[importance])
    changes = {"awaits_release": False, "expires_at": broadcast.expires_at or default_expiry(importance)}
    messages = [Message(pk=pk, job_id=job_id, **changes) for pk, job_id in zip(ids, job_ids, strict=True)]
    Message.objects.bulk_update(messages, ["job_id", *changes], batch_size=500)
    return len(ids)


def _awaiting(broadcast_id: UUID) -> MessageQuerySet:
    return Message.objects.pending().filter(broadcast=broadcast_id, awaits_release=True)


def _free_slots(broadcast_id: UUID) -> int:
    """How many more of its messages may be queued; 0 if the window has become smaller than what is queued."""
    queued = Message.objects.pending().filter(broadcast=broadcast_id, awaits_release=False).count()
    return max(pacing.broadcast_window(WINDOW) - queued, 0)
