"""Erases a person's mail and address everywhere; their suppressions stay, as digests (manage.py forget_address)."""

from collections import Counter
from collections.abc import Iterator
from functools import reduce
from operator import or_
from typing import Any

import structlog
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Cast, Now

from mail.addresses.normalize import address_digest, mask_address
from mail.addresses.parsing import BadAddress, parse_mailbox
from mail.models import (
    Alert,
    Attachment,
    Attempt,
    Broadcast,
    Event,
    Lift,
    Message,
    StreamSuppression,
    Suppression,
)
from mail.privacy.mentions import Mentions
from mail.status import PENDING, Status
from rest.models import IdempotencyKey

log = structlog.get_logger(__name__)

HIDDEN = "(forgotten)"
BLANK: dict[str, Any] = {
    **dict.fromkeys(("to", "address", "subject", "text", "html"), ""),
    **{name: [] for name in ("reply_to", "tags")},
    **{name: {} for name in ("headers", "metadata")},
}
"""The erased columns of a message to the person. Its status, times and timeline stay."""


def forget(address: str) -> dict[str, int]:
    """Erase a person's data; returns counts by name. Waiting mail is cancelled; suppressions stay, as digests."""
    found: Counter[str] = Counter()
    mentions = Mentions(address)
    # First: of a broadcast that is being made, the messages made before this are found below, and no more are made.
    found["broadcasts"] = _hide_in_broadcasts(address, mentions)
    with transaction.atomic():
        ids = list(Message.objects.filter(address=address).values_list("pk", flat=True))
        for message in Message.objects.filter(pk__in=ids, status__in=PENDING):
            found["cancelled"] += message.advance_to(Status.CANCELLED)
        found["attachments"] = Attachment.objects.filter(message__in=ids).delete()[0]
        found["details"] = sum(_hide_details(model, mentions) for model in (Event, Attempt, Alert))
        found["events"] = _erase_raw_events(ids, mentions)
        _hide_failures(ids, mentions)
        found["messages"] = Message.objects.filter(pk__in=ids).update(**BLANK, erased_at=Now())
        found["mentions"] = _hide_in_messages(mentions)
        found["answers"] = _delete_stored_answers(mentions)
        found["suppressions"] = sum(
            model._default_manager.filter(digest=address_digest(address)).update(address="")
            for model in (Suppression, StreamSuppression)
        )
        Lift.objects.filter(digest=address_digest(address)).update(address="")
    log.info("address_forgotten", address=mask_address(address), **found)
    return dict(found)


def _may_mention(field: str, mentions: Mentions) -> Q:
    """Rows that may mention the address; a longer address can contain it, so Mentions has to confirm each."""
    return reduce(or_, (Q(**{f"{field}__icontains": spelling}) for spelling in mentions.spellings))


def _erase_raw_events(ids: list[Any], mentions: Mentions) -> int:
    """Of the person's messages, and of unmatched events that mention the address."""
    erased = Event.objects.exclude(raw=None).filter(message__in=ids).update(raw=None)
    events = Event.objects.exclude(raw=None).annotate(raw_text=Cast("raw", models.TextField()))
    unmatched = events.filter(_may_mention("raw_text", mentions), message=None).values_list("pk", "raw")
    named = [pk for pk, raw in unmatched.iterator() if mentions.in_value(raw)]
    return erased + Event.objects.filter(pk__in=named).update(raw=None)


def _hide_details(model: type[models.Model], mentions: Mentions) -> int:
    """Mail servers often repeat the address in their replies."""
    rows: Iterator[Any] = model._default_manager.filter(_may_mention("detail", mentions)).only("detail").iterator()
    hidden = 0
    for row in rows:
        if mentions.in_text(row.detail):
            hidden += model._default_manager.filter(pk=row.pk).update(detail=mentions.replaced(row.detail, HIDDEN))
    return hidden


def _hide_failures(ids: list[Any], mentions: Mentions) -> None:
    for message in Message.objects.filter(pk__in=ids).exclude(failure=None):
        failure = message.failure | {"detail": mentions.replaced(message.failure["detail"], HIDDEN)}
        if failure != message.failure:
            Message.objects.filter(pk=message.pk).update(failure=failure)


def _hide_in_messages(mentions: Mentions) -> int:
    """In mail to others: remove the address from reply_to, and hide it in headers, tags and metadata."""
    names = ("reply_to", "headers", "tags", "metadata")
    texts = {f"{name}_text": Cast(name, models.TextField()) for name in names}
    possible = Message.objects.annotate(**texts).filter(reduce(or_, (_may_mention(name, mentions) for name in texts)))
    changed = 0
    for row in possible.only(*names).iterator():
        if not any(mentions.in_value(getattr(row, name)) for name in names):
            continue
        changed += Message.objects.filter(pk=row.pk).update(
            reply_to=[each for each in row.reply_to if not mentions.in_text(each)],
            headers={name: mentions.replaced(line, HIDDEN) for name, line in row.headers.items()},
            tags=[mentions.replaced(tag, HIDDEN) for tag in row.tags],
            metadata={name: mentions.replaced(line, HIDDEN) for name, line in row.metadata.items()},
        )
    return changed


def _hide_in_broadcasts(address: str, mentions: Mentions) -> int:
    """Each in a transaction of its own, because the broadcast's job and other calls of forget() wait for its lock."""
    columns = ("recipients", "next_row", "refusals", "reply_to", "tags")
    broadcasts = Broadcast.objects.only(*columns)
    named = [each.pk for each in broadcasts.iterator(chunk_size=1) if _changes(each, address, mentions)]
    for pk in named:
        with transaction.atomic():
            for broadcast in broadcasts.select_for_update().filter(pk=pk):
                Broadcast.objects.filter(pk=pk).update(**_changes(broadcast, address, mentions))
    return len(named)


def _changes(broadcast: Broadcast, address: str, mentions: Mentions) -> dict[str, Any]:
    """The columns that mention the person, without them. A row whose turn is still to come counts as refused."""
    before, done = broadcast.recipients, broadcast.next_row
    rows = [None if row and _is_recipient(row["to"], address, mentions) else row for row in before]
    values = {
        "recipients": rows,
        "refusals": broadcast.refusals + rows[done:].count(None) - before[done:].count(None),
        "reply_to": [each for each in broadcast.reply_to if not mentions.in_text(each)],
        "tags": [mentions.replaced(tag, HIDDEN) for tag in broadcast.tags],
    }
    return {name: value for name, value in values.items() if getattr(broadcast, name) != value}


def _is_recipient(written: str, address: str, mentions: Mentions) -> bool:
    try:
        return parse_mailbox(written).address == address
    except BadAddress:
        return mentions.in_text(written)


def _delete_stored_answers(mentions: Mentions) -> int:
    """Answers stored for idempotency: they repeat what was posted."""
    possible = IdempotencyKey.objects.filter(_may_mention("body", mentions)).values_list("pk", "body")
    named = [pk for pk, body in possible.iterator() if mentions.in_json(body)]
    return IdempotencyKey.objects.filter(pk__in=named).delete()[0]
