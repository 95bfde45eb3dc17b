"""How long mail is kept: bodies, lists of recipients and events as they came go first, the messages themselves later.

Figures of deleted messages are kept for good.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from jobs.models import Job
from jobs.models.queryset import BATCH, delete_in_batches
from mail.models import Attachment, Broadcast, Event, Message, MessageFigure
from mail.models.queryset import MessageQuerySet
from mail.status import PENDING

COUNTED = ("user", "created_at", "sent_at", "finished_at", "status")


def expired_bodies() -> int:
    """Erase the bodies and attachments of messages that left our hands MAIL_BODY_RETENTION ago; returns how many."""
    before, erased = timezone.now() - settings.MAIL_BODY_RETENTION, 0
    while batch := list(_expired(before).values_list("pk", flat=True)[:BATCH]):
        erased += erase(batch)
    return erased


def expired_recipients() -> int:
    """Empty the lists of broadcasts that are done with, or will never be, as long after they were accepted."""
    before = timezone.now() - settings.MAIL_BODY_RETENTION
    kept = Broadcast.objects.filter(created_at__lt=before).exclude(recipients=[]).values_list("pk", "finished_at")
    done_with = [pk for pk, finished_at in kept if finished_at or not _at_work(pk)]
    return Broadcast.objects.filter(pk__in=done_with).update(recipients=[], refused=[])


def erase(ids: Sequence[UUID]) -> int:
    """The bodies and attachments of these messages, and events as they came: those say where people were and with what.

    What has happened to the messages stays.
    """
    with transaction.atomic():
        Event.objects.filter(message__in=ids, raw__isnull=False).update(raw=None)
        Attachment.objects.filter(message__in=ids).delete()
        return Message.objects.filter(pk__in=ids).update(text="", html="", erased_at=Now())


def expired_messages() -> int:
    """Delete messages, with all that is known of them, that ended MAIL_RETENTION ago; returns how many."""
    before, deleted = timezone.now() - settings.MAIL_RETENTION, 0
    while count := _delete_some(before):
        deleted += count
    with_messages = Message.objects.filter(broadcast=OuterRef("pk"))
    old = Broadcast.objects.filter(~Exists(with_messages), created_at__lt=before, recipients=[])
    return deleted + delete_in_batches(old)


def _delete_some(before: datetime) -> int:
    """A batch, whose bodies were erased already. Rows that another process deletes are its to count."""
    with transaction.atomic():
        old = _left_before(before, Message.objects.exclude(erased_at=None)).order_by("created_at")
        batch = list(old.select_for_update(skip_locked=True, of=("self",)).only(*COUNTED)[:BATCH])
        MessageFigure.objects.add(_counted(batch))
        Message.objects.filter(pk__in=[message.pk for message in batch]).delete()
    return len(batch)


def _counted(messages: Sequence[Message]) -> Counter[tuple[int | None, date, str]]:
    """As project.activity counts them: each on the days of its times, and by its status once it has ended."""
    counts: Counter[tuple[int | None, date, str]] = Counter()
    for message in messages:
        moments = [("created", message.created_at), ("sent", message.sent_at), (message.status, message.finished_at)]
        for name, moment in moments:
            if moment:
                counts[message.user_id, moment.astimezone(UTC).date(), name] += 1
    return counts


def _expired(before: datetime) -> MessageQuerySet:
    return _left_before(before, Message.objects.filter(erased_at=None))


def _left_before(before: datetime, messages: MessageQuerySet) -> MessageQuerySet:
    """Those that left our hands before then."""
    old = messages.filter(created_at__lt=before).exclude(status__in=PENDING)
    left: MessageQuerySet = old.annotate(left_at=Coalesce("finished_at", "sent_at", "created_at")).filter(
        left_at__lt=before
    )
    return left


def _at_work(broadcast_id: UUID) -> bool:
    return Job.objects.unfinished().filter(kind="mail.broadcast", params={"broadcast": str(broadcast_id)}).exists()
