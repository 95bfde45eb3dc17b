"""The same mail once more, as a new message: what has finished is never sent again itself."""

from datetime import datetime, timedelta

from django.utils import timezone

from mail.errors import Erased, StillUnderWay, Suppressed
from mail.importance import Importance
from mail.models import Attachment, Message, StreamSuppression, Suppression
from mail.status import UNDER_WAY
from mail.submit import drafted, store

SILENT_AFTER = timedelta(days=5)
"""Since it was sent: no provider retries for longer, so no final event will come any more."""

COPIED = (
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
    """A new message with the old one's content. Raises StillUnderWay, Erased, Suppressed."""
    now = timezone.now()
    if not (old.finished or _is_silent(old, now)):
        raise StillUnderWay(old.pk, old.status)
    if old.erased_at or not old.address:
        raise Erased(old.pk)
    if suppression := Suppression.objects.against(old.address, old.importance):
        raise Suppressed(old.pk, suppression.reason)
    if old.importance != Importance.CRITICAL and StreamSuppression.objects.forbids(
        old.user_id, old.stream, old.address
    ):
        raise Suppressed(old.pk, f"it gets no mail of the stream {old.stream}")
    copy = Message(resend_of=old, **{name: getattr(old, name) for name in COPIED})
    files = [
        Attachment(**{name: getattr(file, name) for name in ("filename", "content_type", "content", "content_id")})
        for file in old.attachments.all()
    ]
    store([drafted(copy, files, now=now)])
    return copy


def _is_silent(message: Message, now: datetime) -> bool:
    """A provider accepted it long ago and never said what came of it."""
    return message.status in UNDER_WAY and message.sent_at is not None and message.sent_at < now - SILENT_AFTER
