"""A person is forgotten: what was written to them, their address wherever it stands, and not that they want no mail."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

import structlog
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Cast, Now

from jobs.models import IdempotencyKey
from mail import addresses, recipient
from mail.models import Alert, Attachment, Attempt, Broadcast, Event, Message, StreamSuppression, Suppression
from mail.recipient import BadAddress
from mail.status import PENDING, Status

log = structlog.get_logger(__name__)

HIDDEN = "(forgotten)"
NOTHING: dict[str, Any] = {
    **dict.fromkeys(("to", "address", "subject", "text", "html"), ""),
    **{name: [] for name in ("reply_to", "tags")},
    **{name: {} for name in ("headers", "metadata")},
}
"""What is left of a message to them besides what happened to it."""

Spellings = Sequence[str]


def forget(address: str) -> dict[str, int]:
    """What was erased, by name. Mail to them that waits is cancelled; a suppression stays, as a digest alone."""
    found: Counter[str] = Counter()
    spellings = addresses.spellings(address)
    with transaction.atomic():
        ids = list(Message.objects.filter(address=address).values_list("pk", flat=True))
        for message in Message.objects.filter(pk__in=ids, status__in=PENDING):
            found["cancelled"] += message.learn(Status.CANCELLED)
        found["attachments"] = Attachment.objects.filter(message__in=ids).delete()[0]
        found["details"] = sum(_hide(model, spellings) for model in (Event, Attempt, Alert))
        found["events"] = _raw_events(ids, spellings).update(raw=None)
        _hide_failures(ids, spellings)
        found["messages"] = Message.objects.filter(pk__in=ids).update(**NOTHING, look_up_at=None, erased_at=Now())
        found["mentions"] = _leave_out_of_messages(spellings)
        found["broadcasts"] = _leave_out_of_broadcasts(address, spellings)
        found["answers"] = IdempotencyKey.objects.filter(_says("body", spellings)).delete()[0]
        found["suppressions"] = sum(
            model._default_manager.filter(digest=addresses.digest(address)).update(address="")
            for model in (Suppression, StreamSuppression)
        )
    log.info("address_forgotten", address=addresses.masked(address), **found)
    return dict(found)


def _says(field: str, spellings: Spellings) -> Q:
    """Rows in which the address stands in this field, however it is written."""
    return reduce(or_, (Q(**{f"{field}__icontains": spelling}) for spelling in spellings))


def _raw_events(ids: list[Any], spellings: Spellings) -> models.QuerySet[Event]:
    """What providers sent about their mail, and what was sent and not believed."""
    events = Event.objects.exclude(raw=None).annotate(raw_text=Cast("raw", models.TextField()))
    return events.filter(Q(message__in=ids) | Q(message=None) & _says("raw_text", spellings))


def _hide(model: type[models.Model], spellings: Spellings) -> int:
    """Servers like to repeat the address in what they say."""
    rows: Any = model._default_manager.filter(_says("detail", spellings))
    for row in rows:
        model._default_manager.filter(pk=row.pk).update(detail=_without(row.detail, spellings))
    return len(rows)


def _hide_failures(ids: list[Any], spellings: Spellings) -> None:
    for message in Message.objects.filter(pk__in=ids).exclude(failure=None):
        failure = message.failure | {"detail": _without(message.failure["detail"], spellings)}
        if failure != message.failure:
            Message.objects.filter(pk=message.pk).update(failure=failure)


def _without(text: str, spellings: Spellings) -> str:
    return re.sub("|".join(map(re.escape, spellings)), HIDDEN, text, flags=re.IGNORECASE)


def _leave_out_of_messages(spellings: Spellings) -> int:
    """Of mail to others: answers do not go to them, and what it was marked with does not name them."""
    texts = {f"{name}_text": Cast(name, models.TextField()) for name in ("reply_to", "headers", "tags", "metadata")}
    said = reduce(or_, (_says(name, spellings) for name in texts))
    rows = list(Message.objects.annotate(**texts).filter(said).only("reply_to", "headers", "tags", "metadata"))
    for row in rows:
        Message.objects.filter(pk=row.pk).update(
            reply_to=[each for each in row.reply_to if _without(each, spellings) == each],
            headers={name: _without(line, spellings) for name, line in row.headers.items()},
            tags=[_without(tag, spellings) for tag in row.tags],
            metadata={name: _without(line, spellings) for name, line in row.metadata.items()},
        )
    return len(rows)


def _leave_out_of_broadcasts(address: str, spellings: Spellings) -> int:
    left_out = 0
    for broadcast in Broadcast.objects.exclude(recipients=[]).only("recipients").iterator(chunk_size=1):
        rows = [None if row and _is(row["to"], address, spellings) else row for row in broadcast.recipients]
        if rows != broadcast.recipients:
            Broadcast.objects.filter(pk=broadcast.pk).update(recipients=rows)
            left_out += 1
    return left_out


def _is(written: str, address: str, spellings: Spellings) -> bool:
    try:
        return recipient.parsed(written).address == address
    except BadAddress:
        return any(spelling in written.lower() for spelling in spellings)
