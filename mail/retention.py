"""How long what people were written is kept: bodies, lists of recipients and what providers sent word for word go, and
what happened to them stays.
"""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from jobs.models import Job
from jobs.queue import BATCH
from mail.models import Attachment, Broadcast, Event, Message
from mail.queries import MessageQuerySet
from mail.status import PENDING


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


def _expired(before: datetime) -> MessageQuerySet:
    old = Message.objects.filter(erased_at=None, created_at__lt=before).exclude(status__in=PENDING)
    expired: MessageQuerySet = old.annotate(left_at=Coalesce("finished_at", "sent_at", "created_at")).filter(
        left_at__lt=before
    )
    return expired


def _at_work(broadcast_id: UUID) -> bool:
    return Job.objects.unfinished().filter(kind="mail.broadcast", params={"broadcast": str(broadcast_id)}).exists()
