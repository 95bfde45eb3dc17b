"""Stores messages with their attachments and the jobs that send them, in one transaction; cancels them again.

api/request_parsing, broadcasts and resending → here → mail.sending.
"""

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
from mail.importance import EXPIRES_AFTER, PRIORITY, Importance
from mail.models import Attachment, Message, Stream
from mail.status import Status

log = structlog.get_logger(__name__)

SEND, SEND_BULK = "mail.send", "mail.send_bulk"
"""Job kinds. Bulk mail and broadcasts have their own, so that they never occupy all threads of a worker."""
SENDING = (SEND, SEND_BULK)


@dataclass(frozen=True, slots=True)
class Draft:
    """A message and its attachments, not stored yet."""

    message: Message
    attachments: Sequence[Attachment] = field(default_factory=list)


def build_send_job(message: Message, run_at: datetime | None = None) -> Job:
    """The job that sends this message, not stored yet. It has no user: clients see the message, not the job."""
    params, priority = {"message": str(message.pk)}, PRIORITY[Importance(message.importance)]
    is_bulk = message.importance == Importance.BULK or message.broadcast_id
    job = jobs.build(SEND_BULK if is_bulk else SEND, params, run_at=run_at, priority=priority)
    message.job_id = job.pk
    return job


def default_expiry(importance: str, due_at: datetime | None = None) -> datetime:
    """The expires_at of a message that does not set one. due_at: None for one that is due now. Raises OverflowError."""
    return (due_at or timezone.now()) + EXPIRES_AFTER[Importance(importance)]


def build_draft(message: Message, attachments: Sequence[Attachment] = (), *, now: datetime) -> Draft:
    """A draft of this message, ready to be stored: with status, times and request id. Raises OverflowError."""
    due_at = max(message.send_at or now, now)
    message.created_at = now
    message.status = Status.SCHEDULED if due_at > now else Status.QUEUED
    message.expires_at = message.expires_at or default_expiry(message.importance, due_at)
    message.request_id = structlog.contextvars.get_contextvars().get("request_id", "")
    for attachment in attachments:
        attachment.message = message
    return Draft(message, attachments)


def store(drafts: Sequence[Draft]) -> None:
    """Insert the messages, their attachments and their jobs with one statement each, and wake workers."""
    send_jobs = [build_send_job(draft.message, _run_at(draft.message)) for draft in drafts]
    for draft, job in zip(drafts, send_jobs, strict=True):
        job.request_id = draft.message.request_id
    with transaction.atomic():
        Stream.objects.ensure(
            (draft.message.user_id, draft.message.stream)
            for draft in drafts
            if draft.message.stream and draft.message.user_id
        )
        Message.objects.bulk_create([draft.message for draft in drafts])
        if attachments := [attachment for draft in drafts for attachment in draft.attachments]:
            Attachment.objects.bulk_create(attachments)
        if len(send_jobs) == 1:
            jobs.store(send_jobs[0])
        else:
            jobs.store_many(send_jobs)
    log.info("messages_submitted", count=len(drafts), message_id=str(drafts[0].message.pk))


def _run_at(message: Message) -> datetime | None:
    """None: now. A send_at in the past would put the job ahead of all that wait already."""
    return message.send_at if message.status == Status.SCHEDULED else None


def store_for_broadcast(drafts: Sequence[Draft], importance: str, *, room: int) -> None:
    """As store(), for messages of a broadcast: of one importance, due now, without attachments.

    room: how many of them are queued now; the others wait for mail.broadcasts.release.
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


def cancel_message(message: Message) -> None:
    """Cancel a message and the job that would have sent it. Raises AlreadySent."""
    with transaction.atomic():
        before = message.status
        message.cancel()
        if message.status != before:
            message.note("cancelled")
    job = (
        Job.objects.filter(pk=message.job_id, status__in=WAITING).without_history().first() if message.job_id else None
    )
    if job:
        with suppress(AlreadyFinished):
            job.cancel()
