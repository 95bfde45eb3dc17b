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

from jobs import submit as jobs
from jobs.errors import PermanentError
from jobs.models import Job
from jobs.run import Run
from mail.addresses import parsing
from mail.addresses.parsing import BadAddress, Mailbox
from mail.addresses.upload import RefusedRow, bad_row, first_told
from mail.api.request_parsing import one_line, with_a_body
from mail.broadcasts import release
from mail.models import Broadcast, Message, Stream, StreamSuppression, Suppression
from mail.rendering import BadTemplate, Meter, MissingVariable, Sandboxed
from mail.submit import Draft, drafted, store_alike
from mail.unsubscribe.one_click import context_for
from rest.field_errors import FieldError

log = structlog.get_logger(__name__)

Addressed = tuple[Mailbox, dict[str, Any]]
"""Whom a row is for, and its context."""

KIND = "mail.broadcast"
COPIED = ("reply_to", "tags", "stream", "track_opens", "track_clicks", "test_mode", "send_at", "expires_at")
"""What a broadcast says of all its messages."""
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
        """Subject, text and html of one message. Raises BadTemplate, MissingVariable."""
        parts = {
            "subject": one_line(self.subject.rendered(context, meter, strict=True)),
            "text": self.text.rendered(context, meter, strict=True),
            "html": self.html.rendered(context, meter, strict=True),
        }
        return with_a_body(parts)


def begin(broadcast: Broadcast) -> Job:
    """Store a broadcast and its job, which has the same id and is due at send_at."""
    job = jobs.prepare(KIND, {"broadcast": str(broadcast.pk)}, user=broadcast.user, run_at=broadcast.send_at)
    job.pk = broadcast.pk
    with transaction.atomic():
        if broadcast.stream:
            Stream.objects.ensure([(broadcast.user_id, broadcast.stream)])
        broadcast.save(force_insert=True)
        jobs.store(job)
    return job


def carry_out(run: Run, broadcast_id: UUID) -> dict[str, Any]:
    """Make a message for each recipient; what was made before is not made again. Returns the counts and bad rows."""
    broadcast = Broadcast.objects.filter(pk=broadcast_id).first()
    if broadcast is None:
        raise PermanentError("there is no such broadcast any more")
    pages, count = Pages(broadcast), len(broadcast.recipients)
    while broadcast.next_row < count and not broadcast.cancelled_at:
        _advance(broadcast, pages)
        run.progress(100 * broadcast.next_row / count, f"{broadcast.next_row} of {count} rows")
    if broadcast.cancelled_at:
        raise PermanentError("the broadcast was cancelled; its other recipients need a new one")
    Broadcast.objects.filter(pk=broadcast_id, finished_at=None).update(finished_at=Now())
    release.note_the_end(broadcast_id)
    return _result(broadcast, count)


def _advance(broadcast: Broadcast, pages: Pages) -> None:
    """Do the next chunk, unless somebody else has done it meanwhile."""
    start = broadcast.next_row
    drafts, refused = _drafts(broadcast, pages, broadcast.recipients[start : start + CHUNK])
    addresses = [draft.message.address for draft in drafts]
    forbidden = Suppression.objects.forbidden_among(addresses, broadcast.importance)
    forbidden |= StreamSuppression.objects.forbidden_among(broadcast.user_id, broadcast.stream, addresses)
    with transaction.atomic():
        here = Broadcast.objects.filter(pk=broadcast.pk, next_row=start, cancelled_at=None)
        if here.update(
            next_row=min(start + CHUNK, len(broadcast.recipients)),
            accepted=F("accepted") + len(drafts),
            suppressed=F("suppressed") + sum(draft.message.address in forbidden for draft in drafts),
            refusals=F("refusals") + len(refused),
            refused=first_told(broadcast.refused + refused),
        ):
            store_alike(drafts, broadcast.importance, room=release.room(broadcast.pk))
    broadcast.refresh_from_db(fields=["next_row", "accepted", "suppressed", "refused", "refusals", "cancelled_at"])
    log.info("broadcast_advanced", broadcast_id=str(broadcast.pk), next_row=broadcast.next_row)


def _drafts(broadcast: Broadcast, pages: Pages, rows: list[Any]) -> tuple[list[Draft], list[RefusedRow]]:
    """A message for each row that can have one, and what is wrong with the others."""
    found, refused = _mailboxes(broadcast.next_row, rows)
    taken = _taken(broadcast, found)
    drafts, meter = [], Meter(SECONDS_OF_CHUNK)
    for number, (to, context) in found.items():
        if to.address in taken:
            refused.append(
                _refusal(number, "to", "duplicate", "This address is in the list twice, and gets one message.")
            )
            continue
        try:
            drafts.append(_draft(broadcast, number, to, context, pages, meter))
            taken.add(to.address)
        except MissingVariable as error:
            refused.append(_refusal(number, f"context.{error.name}", "required", str(error)))
        except BadTemplate as error:
            refused.append(_refusal(number, "context", "template", str(error)))
    return drafts, refused


def _mailboxes(before: int, rows: list[Any]) -> tuple[dict[int, Addressed], list[RefusedRow]]:
    """By number, the rows whose address takes mail; and those whose address does not."""
    parsing.look_up([row["to"] for row in rows if row])
    found: dict[int, Addressed] = {}
    refused: list[RefusedRow] = []
    for number, row in enumerate(rows, before + 1):
        if row is None:  # refused, and counted, when it came
            continue
        try:
            found[number] = parsing.deliverable(row["to"]), row["context"]
        except BadAddress as error:
            refused.append(_refusal(number, "to", error.code, str(error)))
    return found, refused


def _taken(broadcast: Broadcast, found: dict[int, Addressed]) -> set[str]:
    """Those of these addresses that an earlier chunk has made a message for."""
    addresses = [to.address for to, _ in found.values()]
    return set(broadcast.messages.filter(address__in=addresses).values_list("address", flat=True))


def _draft(
    broadcast: Broadcast, number: int, to: Mailbox, context: dict[str, Any], pages: Pages, meter: Meter
) -> Draft:
    message = Message(
        user_id=broadcast.user_id,
        broadcast=broadcast,
        row=number,
        to=to.written,
        address=to.address,
        sender=broadcast.sender or settings.MAIL_FROM,
        importance=broadcast.importance,
        **{name: getattr(broadcast, name) for name in COPIED},
    )
    message.set_content(pages.for_(context_for(message) | context, meter))
    return drafted(message, now=timezone.now())


def _refusal(number: int, field: str, code: str, detail: str) -> RefusedRow:
    return bad_row(number, [FieldError(field=field, code=code, detail=detail)])


def _result(broadcast: Broadcast, count: int) -> dict[str, Any]:
    """rows: how many there were; errors: of the first bad ones; messages: where the messages are listed."""
    return {
        "rows": count,
        "accepted": broadcast.accepted,
        "suppressed": broadcast.suppressed,
        "refused": broadcast.refusals,
        "errors": broadcast.refused,
        "messages": broadcast.messages_url,
    }
