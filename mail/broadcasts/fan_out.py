"""The job mail.broadcast: makes a message from one template for each recipient, in chunks.

A chunk is one transaction: its messages, the jobs that send them, and the row to continue at. So after a crash at any
point every row still becomes exactly one message or one refusal.
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
from mail.addresses.parsing import BadAddress, Mailbox, look_up_domains, parse_deliverable
from mail.addresses.refused_rows import RefusedRow, first_refused, refused_row
from mail.broadcasts import release
from mail.importance import Importance
from mail.models import Broadcast, Message, Stream, StreamSuppression, Suppression
from mail.models.template import BroadcastQuerySet
from mail.rendering.budget import BadTemplate, MissingVariable, RenderBudget
from mail.rendering.content import require_body, subject_line
from mail.rendering.sandbox import SandboxedTemplate
from mail.submit import Draft, build_draft, store_for_broadcast
from mail.unsubscribe.one_click import context_for
from rest.requests.field_errors import FieldError

log = structlog.get_logger(__name__)

Addressed = tuple[Mailbox, dict[str, Any]]
"""A row's recipient and context."""

KIND = "mail.broadcast"
COPIED_FIELDS = ("reply_to", "tags", "stream", "track_opens", "track_clicks", "test_mode", "send_at", "expires_at")
"""Fields of the broadcast that all its messages take."""
CHUNK_SIZE = 500
CHUNK_RENDER_SECONDS = 30.0
"""CPU time for rendering a chunk. Rows beyond that are refused."""


class CompiledTemplate:
    """A broadcast's template, compiled once for all recipients."""

    def __init__(self, broadcast: Broadcast) -> None:
        self.subject = SandboxedTemplate(broadcast.subject)
        self.text = SandboxedTemplate(broadcast.text)
        self.html = SandboxedTemplate(broadcast.html, autoescape=True)

    def render(self, context: dict[str, Any], budget: RenderBudget) -> dict[str, str]:
        """Subject, text and html of one message. Raises BadTemplate, MissingVariable."""
        parts = {
            "subject": subject_line(self.subject.render_text(context, budget, strict=True)),
            "text": self.text.render_text(context, budget, strict=True),
            "html": self.html.render_text(context, budget, strict=True),
        }
        return require_body(parts)


def start(broadcast: Broadcast) -> Job:
    """Store a broadcast and its job, which has the same id and is due at send_at."""
    job = jobs.build(KIND, {"broadcast": str(broadcast.pk)}, user=broadcast.user, run_at=broadcast.send_at)
    job.pk = broadcast.pk
    with transaction.atomic():
        if broadcast.stream:
            Stream.objects.ensure([(broadcast.user_id, broadcast.stream)])
        broadcast.save(force_insert=True)
        jobs.store(job)
    return job


def fan_out(run: Run, broadcast_id: UUID) -> dict[str, Any]:
    """Make the messages that are still missing. Returns the counts and the refused rows."""
    broadcast = Broadcast.objects.filter(pk=broadcast_id).first()
    if broadcast is None:
        raise PermanentError("the broadcast no longer exists")
    template, count = CompiledTemplate(broadcast), len(broadcast.recipients)
    while broadcast.next_row < count and not broadcast.cancelled_at:
        _process_chunk(broadcast, template)
        run.progress(100 * broadcast.next_row / count, f"{broadcast.next_row} of {count} rows")
    if broadcast.cancelled_at:
        raise PermanentError("the broadcast was cancelled; send the remaining recipients a new one")
    Broadcast.objects.filter(pk=broadcast_id, finished_at=None).update(finished_at=Now())
    release.mark_released(broadcast_id)
    return {
        "rows": count,
        "accepted": broadcast.accepted,
        "suppressed": broadcast.suppressed,
        "refused": broadcast.refusals,
        "errors": broadcast.refused,
        "messages": broadcast.messages_url,
    }


def _process_chunk(broadcast: Broadcast, template: CompiledTemplate) -> None:
    """Make the messages of the next chunk, unless the broadcast has changed meanwhile: then read it again."""
    start = broadcast.next_row
    drafts, refused = _build_drafts(broadcast, template, broadcast.recipients[start : start + CHUNK_SIZE])
    addresses = [draft.message.address for draft in drafts]
    forbidden = Suppression.objects.forbidden_among(addresses, Importance.BULK)
    forbidden |= StreamSuppression.objects.forbidden_among(broadcast.user_id, broadcast.stream, addresses)
    with transaction.atomic():
        if not _unchanged(broadcast).update(
            next_row=min(start + CHUNK_SIZE, len(broadcast.recipients)),
            accepted=F("accepted") + len(drafts),
            suppressed=F("suppressed") + sum(draft.message.address in forbidden for draft in drafts),
            refusals=F("refusals") + len(refused),
            refused=first_refused(broadcast.refused + refused),
        ):
            broadcast.refresh_from_db()
            return
        store_for_broadcast(drafts, broadcast.importance, room=release.room(broadcast.pk))
        # Before the commit: the next chunk has to notice whom mail.privacy forgets after it.
        broadcast.refresh_from_db(fields=["next_row", "accepted", "suppressed", "refused", "refusals"])
    log.info("broadcast_advanced", broadcast_id=str(broadcast.pk), next_row=broadcast.next_row)


def _unchanged(broadcast: Broadcast) -> BroadcastQuerySet:
    """Its row, unless another run has made the chunk, or it was cancelled, or a person in it was forgotten."""
    read = {name: getattr(broadcast, name) for name in ("next_row", "refusals", "reply_to", "tags")}
    found: BroadcastQuerySet = Broadcast.objects.filter(pk=broadcast.pk, cancelled_at=None, **read)
    return found


def _build_drafts(
    broadcast: Broadcast, template: CompiledTemplate, rows: list[Any]
) -> tuple[list[Draft], list[RefusedRow]]:
    """A draft for each row that is valid; the others are refused."""
    valid, refused = _parse_addresses(broadcast.next_row, rows)
    addresses = [to.address for to, _ in valid.values()]
    taken = set(broadcast.messages.filter(address__in=addresses).values_list("address", flat=True))
    drafts, budget = [], RenderBudget(CHUNK_RENDER_SECONDS)
    for number, (to, context) in valid.items():
        if to.address in taken:
            refused.append(
                _refusal(number, "to", "duplicate", "This address is in the list more than once; it gets one message.")
            )
            continue
        try:
            drafts.append(_build_draft(broadcast, number, to, context, template, budget))
            taken.add(to.address)
        except MissingVariable as error:
            refused.append(_refusal(number, f"context.{error.name}", "required", str(error)))
        except BadTemplate as error:
            refused.append(_refusal(number, "context", "template", str(error)))
    return drafts, refused


def _parse_addresses(before: int, rows: list[Any]) -> tuple[dict[int, Addressed], list[RefusedRow]]:
    """The rows whose address takes mail, by row number, and the refused others. before: rows of earlier chunks."""
    look_up_domains([row["to"] for row in rows if row])
    valid: dict[int, Addressed] = {}
    refused: list[RefusedRow] = []
    for number, row in enumerate(rows, before + 1):
        if row is None:  # refused and counted when the broadcast was accepted
            continue
        try:
            valid[number] = parse_deliverable(row["to"]), row["context"]
        except BadAddress as error:
            refused.append(_refusal(number, "to", error.code, str(error)))
    return valid, refused


def _build_draft(
    broadcast: Broadcast,
    number: int,
    to: Mailbox,
    context: dict[str, Any],
    template: CompiledTemplate,
    budget: RenderBudget,
) -> Draft:
    message = Message(
        user_id=broadcast.user_id,
        broadcast=broadcast,
        row=number,
        to=to.written,
        address=to.address,
        sender=broadcast.sender or settings.MAIL_FROM,
        importance=broadcast.importance,
        **{name: getattr(broadcast, name) for name in COPIED_FIELDS},
    )
    message.set_content(template.render(context_for(message) | context, budget))
    return build_draft(message, now=timezone.now())


def _refusal(number: int, field: str, code: str, detail: str) -> RefusedRow:
    return refused_row(number, [FieldError(field=field, code=code, detail=detail)])
