"""The way in: a message is stored with its attachments and the job that sends it, and from then on it is not lost."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from django.db import transaction
from django.utils import timezone

from jobs import submit as jobs
from jobs.errors import AlreadyFinished
from jobs.models import Job
from jobs.models.states import WAITING
from mail.importance import PATIENCE, PRIORITY, Importance
from mail.models import Attachment, Message, Stream
from mail.status import Status

log = structlog.get_logger(__name__)

SEND, SEND_BULK = "mail.send", "mail.send_bulk"
"""Bulk mail and broadcasts have a kind of job of their own, so that they never occupy all threads of a worker."""
SENDING = (SEND, SEND_BULK)


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is not stored yet, with what is stored together with it."""

    message: Message
    attachments: Sequence[Attachment] = field(default_factory=list)


def sending_job(message: Message, run_at: datetime | None = None) -> Job:
    """What sends it, not stored yet. It is nobody's: clients see messages, and their jobs are ours."""
    params, priority = {"message": str(message.pk)}, PRIORITY[Importance(message.importance)]
    is_bulk = message.importance == Importance.BULK or message.broadcast_id
    job = jobs.prepare(SEND_BULK if is_bulk else SEND, params, run_at=run_at, priority=priority)
    message.job_id = job.pk
    return job


def patience_ends(importance: str, due_at: datetime) -> datetime:
    """When a message of this importance is not worth sending any more. Raises OverflowError."""
    return due_at + PATIENCE[Importance(importance)]


def patience_from_now(importance: str) -> datetime:
    return patience_ends(importance, timezone.now())


def drafted(message: Message, attachments: Sequence[Attachment] = (), *, now: datetime) -> Draft:
    """A draft of a message whose content is decided: its status is, too. Raises OverflowError."""
    due_at = max(message.send_at or now, now)
    message.created_at = now
    message.status = Status.SCHEDULED if due_at > now else Status.QUEUED
    message.expires_at = message.expires_at or patience_ends(message.importance, due_at)
    message.request_id = structlog.contextvars.get_contextvars().get("request_id", "")
    for attachment in attachments:
        attachment.message = message
    return Draft(message, attachments)


def store(drafts: Sequence[Draft]) -> None:
    """Insert the messages, their attachments and their jobs, in three statements at most, and wake workers for them."""
    prepared = [sending_job(draft.message, _run_at(draft.message)) for draft in drafts]
    with transaction.atomic():
        Stream.objects.ensure(
            (draft.message.user_id, draft.message.stream)
            for draft in drafts
            if draft.message.stream and draft.message.user_id
        )
        Message.objects.bulk_create([draft.message for draft in drafts])
        if attachments := [attachment for draft in drafts for attachment in draft.attachments]:
            Attachment.objects.bulk_create(attachments)
        if len(prepared) == 1:
            jobs.store(prepared[0])
        else:
            jobs.store_many(prepared)
    log.info("messages_submitted", count=len(drafts), message_id=str(drafts[0].message.pk))


def _run_at(message: Message) -> datetime | None:
    """None is now: a time long past would put it before all that has been waiting."""
    return message.send_at if message.status == Status.SCHEDULED else None


def store_alike(drafts: Sequence[Draft], importance: str, *, room: int) -> None:
    """As store(), for messages of a broadcast: of one importance, due now, and without attachments.

    room: as many of them are queued; the others wait for their release (mail.release).
    """
    queued = drafts[:room]
    with transaction.atomic():
        params = [{"message": str(draft.message.pk)} for draft in queued]
        ids = jobs.submit_many(SEND_BULK, params, priority=PRIORITY[Importance(importance)])
        for draft, job_id in zip(queued, ids, strict=True):
            draft.message.job_id = job_id
        for draft in drafts[room:]:
            draft.message.awaits_release = True
        Message.objects.bulk_create([draft.message for draft in drafts])


def withdraw(message: Message) -> None:
    """Cancel a message and the job that would send it. Raises AlreadySent."""
    with transaction.atomic():
        was = message.status
        message.cancel()
        if was != message.status:
            message.note("cancelled")
    job = (
        Job.objects.filter(pk=message.job_id, status__in=WAITING).without_history().first() if message.job_id else None
    )
    if job:
        with suppress(AlreadyFinished):
            job.cancel()
