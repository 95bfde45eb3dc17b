"""The work of the job mail.broadcast: one template to many addresses, in chunks.

A chunk is one transaction: its messages, the jobs that send them, and the row where to go on. So whatever is killed,
every row becomes one message or one refusal.
"""

from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from jobs.errors import PermanentError
from jobs.field_errors import FieldError
from jobs.run import Run
from mail import recipient
from mail.intake import one_line, with_a_body
from mail.models import Broadcast, Message, Suppression
from mail.recipient import BadAddress
from mail.recipients import RefusedRow, bad_row, first_told
from mail.submit import Draft, drafted, store_alike
from mail.templates import BadTemplate, Meter, Sandboxed

log = structlog.get_logger(__name__)

CHUNK = 500
SECONDS_OF_CHUNK = 30.0
"""Of computing, for the templates of a chunk; rows that come after that are refused."""


class Pages:
    """A broadcast's template, compiled once."""

    def __init__(self, broadcast: Broadcast) -> None:
        self.subject = Sandboxed(broadcast.subject)
        self.text = Sandboxed(broadcast.text)
        self.html = Sandboxed(broadcast.html, autoescape=True)

    def for_(self, context: dict[str, Any], meter: Meter) -> dict[str, str]:
        """Subject, text and html of one message. Raises BadTemplate."""
        parts = {
            "subject": one_line(self.subject.rendered(context, meter)),
            "text": self.text.rendered(context, meter),
            "html": self.html.rendered(context, meter),
        }
        return with_a_body(parts)


def carry_out(run: Run, broadcast_id: UUID) -> dict[str, Any]:
    """Make a message for each recipient; what was made before is not made again. Returns the counts and bad rows."""
    broadcast = Broadcast.objects.filter(pk=broadcast_id).first()
    if broadcast is None:
        raise PermanentError("there is no such broadcast any more")
    pages, count = Pages(broadcast), len(broadcast.recipients)
    while broadcast.next_row < count:
        _advance(broadcast, pages)
        run.progress(100 * broadcast.next_row / count, f"{broadcast.next_row} of {count} rows")
    Broadcast.objects.filter(pk=broadcast_id, finished_at=None).update(finished_at=Now())
    return _result(broadcast, count)


def _advance(broadcast: Broadcast, pages: Pages) -> None:
    """Do the next chunk, unless somebody else has done it meanwhile."""
    start = broadcast.next_row
    drafts, refused = _drafts(broadcast, pages, broadcast.recipients[start : start + CHUNK])
    forbidden = Suppression.objects.forbidden_among((draft.message.address for draft in drafts), broadcast.importance)
    with transaction.atomic():
        here = Broadcast.objects.filter(pk=broadcast.pk, next_row=start)
        if here.update(
            next_row=min(start + CHUNK, len(broadcast.recipients)),
            accepted=F("accepted") + len(drafts),
            suppressed=F("suppressed") + sum(draft.message.address in forbidden for draft in drafts),
            refusals=F("refusals") + len(refused),
            refused=first_told(broadcast.refused + refused),
        ):
            store_alike(drafts, broadcast.importance)
    broadcast.refresh_from_db(fields=["next_row", "accepted", "suppressed", "refused", "refusals"])
    log.info("broadcast_advanced", broadcast_id=str(broadcast.pk), next_row=broadcast.next_row)


def _drafts(broadcast: Broadcast, pages: Pages, rows: list[Any]) -> tuple[list[Draft], list[RefusedRow]]:
    """A message for each row that can have one, and what is wrong with the others."""
    recipient.look_up([row["to"] for row in rows if row])
    drafts, refused, meter = [], [], Meter(SECONDS_OF_CHUNK)
    for number, row in enumerate(rows, broadcast.next_row + 1):
        if row is None:  # refused, and counted, when it came
            continue
        try:
            drafts.append(_draft(broadcast, number, row, pages, meter))
        except BadAddress as error:
            refused.append(_refusal(number, "to", error.code, error))
        except BadTemplate as error:
            refused.append(_refusal(number, "context", "template", error))
    return drafts, refused


def _draft(broadcast: Broadcast, number: int, row: dict[str, Any], pages: Pages, meter: Meter) -> Draft:
    to = recipient.deliverable(row["to"])
    message = Message(
        user_id=broadcast.user_id,
        broadcast=broadcast,
        row=number,
        to=to.written,
        address=to.address,
        sender=settings.MAIL_FROM,
        importance=broadcast.importance,
        **pages.for_(row["context"], meter),
    )
    return drafted(message, now=timezone.now())


def _refusal(number: int, field: str, code: str, error: Exception) -> RefusedRow:
    return bad_row(number, [FieldError(field=field, code=code, detail=str(error))])


def _result(broadcast: Broadcast, count: int) -> dict[str, Any]:
    """rows: how many there were; errors: of the first bad ones."""
    return {
        "rows": count,
        "accepted": broadcast.accepted,
        "suppressed": broadcast.suppressed,
        "refused": broadcast.refusals,
        "errors": broadcast.refused,
    }
