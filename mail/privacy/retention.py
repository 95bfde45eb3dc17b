"""Deletes old mail, by maintenance: first bodies, recipient lists and raw events, later the messages themselves.

Daily figures of deleted messages are kept without end.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from jobs.models import Job
from jobs.models.queryset import BATCH, deletions
from mail.models import Attachment, Broadcast, Event, Message, MessageFigure
from mail.models.queryset import MessageQuerySet
from mail.status import PENDING

COUNTED_COLUMNS = ("user", "created_at", "sent_at", "finished_at", "status")


def erase_expired_bodies() -> Iterator[int]:
    """Erase bodies and attachments MAIL_BODY_RETENTION after a message finished or was sent. Yields how many."""
    before = timezone.now() - settings.MAIL_BODY_RETENTION
    expired = _done_before(before, Message.objects.filter(erased_at=None)).values_list("pk", flat=True)
    while batch := list(expired[:BATCH]):
        yield erase(batch)


def erase_expired_recipients() -> int:
    """Empty the recipient lists of broadcasts MAIL_BODY_RETENTION after their POST, unless their job still runs."""
    before = timezone.now() - settings.MAIL_BODY_RETENTION
    old = Broadcast.objects.filter(created_at__lt=before).exclude(recipients=[]).values_list("pk", "finished_at")
    idle = [pk for pk, finished_at in old if finished_at or not _has_unfinished_job(pk)]
    return Broadcast.objects.filter(pk__in=idle).update(recipients=[], refused=[])


def erase(ids: Sequence[UUID]) -> int:
    """Erase bodies, attachments and raw events (which tell a reader's place and device). The timeline stays."""
    with transaction.atomic():
        Event.objects.filter(message__in=ids, raw__isnull=False).update(raw=None)
        Attachment.objects.filter(message__in=ids).delete()
        return Message.objects.filter(pk__in=ids).update(text="", html="", erased_at=Now())


def delete_expired_messages() -> Iterator[int]:
    """Delete messages and what belongs to them MAIL_RETENTION after they finished or were sent. Yields how many."""
    before = timezone.now() - settings.MAIL_RETENTION
    while count := _delete_batch(before):
        yield count
    with_messages = Message.objects.filter(broadcast=OuterRef("pk"))
    old = Broadcast.objects.filter(~Exists(with_messages), created_at__lt=before, recipients=[])
    yield from deletions(old)


def _delete_batch(before: datetime) -> int:
    """Delete messages whose bodies are erased, and count them. Rows locked by another process are left to it."""
    with transaction.atomic():
        old = _done_before(before, Message.objects.exclude(erased_at=None)).order_by("created_at")
        batch = list(old.select_for_update(skip_locked=True, of=("self",)).only(*COUNTED_COLUMNS)[:BATCH])
        MessageFigure.objects.add(_daily_counts(batch))
        Message.objects.filter(pk__in=[message.pk for message in batch]).delete()
    return len(batch)


def _daily_counts(messages: Sequence[Message]) -> Counter[tuple[int | None, date, str]]:
    """As project.activity counts them: per day by created_at and sent_at, and by status on the day of finished_at."""
    counts: Counter[tuple[int | None, date, str]] = Counter()
    for message in messages:
        moments = [("created", message.created_at), ("sent", message.sent_at), (message.status, message.finished_at)]
        for name, moment in moments:
            if moment:
                counts[message.user_id, moment.astimezone(UTC).date(), name] += 1
    return counts


def _done_before(before: datetime, messages: MessageQuerySet) -> MessageQuerySet:
    """Those of these messages that finished or were sent before this time."""
    old = messages.filter(created_at__lt=before).exclude(status__in=PENDING)
    done: MessageQuerySet = old.annotate(done_at=Coalesce("finished_at", "sent_at", "created_at")).filter(
        done_at__lt=before
    )
    return done


def _has_unfinished_job(broadcast_id: UUID) -> bool:
    return Job.objects.unfinished().filter(kind="mail.broadcast", params={"broadcast": str(broadcast_id)}).exists()
