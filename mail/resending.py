"""Sends a finished message again, as a new message with the same content. api/views/messages → here → mail.submit."""

from datetime import timedelta

from django.utils import timezone

from mail.errors import Erased, StillUnderWay, Suppressed
from mail.importance import Importance
from mail.models import Attachment, Message, StreamSuppression, Suppression
from mail.status import UNDER_WAY
from mail.submit import build_draft, store

SILENT_AFTER = timedelta(days=5)
"""After sent_at. No provider retries for longer, so no final event will follow."""

COPIED_FIELDS = (
    "user",
    "to",
    "address",
    "sender",
    "reply_to",
    "subject",
    "text",
    "html",
    "headers",
    "tags",
    "metadata",
    "importance",
    "stream",
    "track_opens",
    "track_clicks",
    "test_mode",
)


def resend(old: Message) -> Message:
    """Store a new message with the old one's content. Raises StillUnderWay, Erased, Suppressed."""
    now = timezone.now()
    is_silent = old.status in UNDER_WAY and old.sent_at is not None and old.sent_at < now - SILENT_AFTER
    if not (old.finished or is_silent):
        raise StillUnderWay(old.pk, old.status)
    if old.erased_at or not old.address:
        raise Erased(old.pk)
    importance = Importance.BULK if old.broadcast_id else old.importance
    if suppression := Suppression.objects.against(old.address, importance):
        raise Suppressed(old.pk, suppression.reason)
    if old.importance != Importance.CRITICAL and StreamSuppression.objects.forbids(
        old.user_id, old.stream, old.address
    ):
        raise Suppressed(old.pk, f"it gets no mail of the stream {old.stream}")
    copy = Message(resend_of=old, **{name: getattr(old, name) for name in COPIED_FIELDS})
    files = [
        Attachment(**{name: getattr(file, name) for name in ("filename", "content_type", "content", "content_id")})
        for file in old.attachments.all()
    ]
    store([build_draft(copy, files, now=now)])
    return copy
