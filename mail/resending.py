"""The same mail once more, as a new message: what has finished is never sent again itself."""

from django.utils import timezone

from mail.errors import Erased, StillUnderWay, Suppressed
from mail.models import Attachment, Message, Suppression
from mail.submit import drafted, store

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
)


def resend(old: Message) -> Message:
    """A new message with the old one's content. Raises StillUnderWay, Erased, Suppressed."""
    if not old.finished:
        raise StillUnderWay(old.pk, old.status)
    if old.erased_at or not old.address:
        raise Erased(old.pk)
    if suppression := Suppression.objects.against(old.address, old.importance):
        raise Suppressed(old.pk, suppression.reason)
    copy = Message(resend_of=old, **{name: getattr(old, name) for name in COPIED})
    files = [
        Attachment(filename=file.filename, content_type=file.content_type, content=file.content)
        for file in old.attachments.all()
    ]
    store([drafted(copy, files, now=timezone.now())])
    return copy
