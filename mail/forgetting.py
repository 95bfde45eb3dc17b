"""A person is forgotten: what was written to them, their address wherever it stands, and not that they want no mail."""

import re
from collections import Counter
from typing import Any

import structlog
from django.db import models, transaction
from django.db.models import Q
from django.db.models.functions import Cast, Now

from jobs.models import IdempotencyKey
from mail import addresses, recipient
from mail.models import Alert, Attachment, Attempt, Broadcast, Event, Message, Suppression
from mail.recipient import BadAddress
from mail.status import PENDING, Status

log = structlog.get_logger(__name__)

HIDDEN = "(forgotten)"


def forget(address: str) -> dict[str, int]:
    """What was erased, by name. Mail to them that waits is cancelled; a suppression stays, as a digest alone."""
    found: Counter[str] = Counter()
    with transaction.atomic():
        ids = list(Message.objects.filter(address=address).values_list("pk", flat=True))
        for message in Message.objects.filter(pk__in=ids, status__in=PENDING):
            found["cancelled"] += message.learn(Status.CANCELLED)
        found["attachments"] = Attachment.objects.filter(message__in=ids).delete()[0]
        found["details"] = _hide(Event, address) + _hide(Attempt, address) + _hide(Alert, address)
        found["events"] = _raw_events(ids, address).update(raw=None)
        _hide_failures(ids, address)
        found["messages"] = Message.objects.filter(pk__in=ids).update(
            to="", address="", subject="", text="", html="", headers={}, metadata={}, erased_at=Now()
        )
        found["broadcasts"] = _leave_out_of_broadcasts(address)
        found["answers"] = IdempotencyKey.objects.filter(body__icontains=address).delete()[0]
        found["suppressions"] = Suppression.objects.filter(digest=addresses.digest(address)).update(address="")
    log.info("address_forgotten", address=addresses.masked(address), **found)
    return dict(found)


def _raw_events(ids: list[Any], address: str) -> models.QuerySet[Event]:
    """What providers sent about their mail, and what was sent and not believed."""
    events = Event.objects.exclude(raw=None).annotate(raw_text=Cast("raw", models.TextField()))
    return events.filter(Q(message__in=ids) | Q(message=None, raw_text__icontains=address))


def _hide(model: type[models.Model], address: str) -> int:
    """Servers like to repeat the address in what they say."""
    rows: Any = model._default_manager.filter(detail__icontains=address)
    for row in rows:
        model._default_manager.filter(pk=row.pk).update(detail=_without(row.detail, address))
    return len(rows)


def _hide_failures(ids: list[Any], address: str) -> None:
    for message in Message.objects.filter(pk__in=ids).exclude(failure=None):
        failure = message.failure | {"detail": _without(message.failure["detail"], address)}
        if failure != message.failure:
            Message.objects.filter(pk=message.pk).update(failure=failure)


def _without(text: str, address: str) -> str:
    return re.sub(re.escape(address), HIDDEN, text, flags=re.IGNORECASE)


def _leave_out_of_broadcasts(address: str) -> int:
    left_out = 0
    for broadcast in Broadcast.objects.exclude(recipients=[]).only("recipients").iterator(chunk_size=1):
        rows = [None if row and _is(row["to"], address) else row for row in broadcast.recipients]
        if rows != broadcast.recipients:
            Broadcast.objects.filter(pk=broadcast.pk).update(recipients=rows)
            left_out += 1
    return left_out


def _is(written: str, address: str) -> bool:
    try:
        return recipient.parsed(written).address == address
    except BadAddress:
        return address in written.lower()
