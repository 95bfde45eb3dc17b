"""What an event does to its message, once: the job mail.event, and the sweep after those whose job was lost."""

from datetime import timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models.functions import Now

from mail.failure import Failure, FailureClass
from mail.meaning import STATUS, News
from mail.models import Attempt, Event, Message

log = structlog.get_logger(__name__)

LOST_AFTER = timedelta(minutes=10)
SWEPT_AT_ONCE = 1000
TOKENS_ARE_KEPT = timedelta(hours=48)
"""Twice as long as a signature is taken for good."""
DISREGARDED_ARE_KEPT = timedelta(days=30)


def apply(event_id: UUID) -> bool:
    """Let the event have its effect; False when it has had it. Whoever comes second waits for the first to commit."""
    with transaction.atomic():
        if not Event.objects.filter(pk=event_id, applied_at=None, disregarded="").update(applied_at=Now()):
            return False
        event = Event.objects.select_related("message", "attempt").get(pk=event_id)
        if event.message:
            _apply(event, event.message, event.attempt)
    log.info("event_applied", event_id=str(event_id), message_id=str(event.message_id), type=event.type)
    return True


def _apply(event: Event, message: Message, attempt: Attempt | None) -> None:
    if event.type in News.values:
        _prove(event, message, attempt)
    match event.type:
        case News.OPENED:
            message.opened()
        case News.CLICKED:
            message.clicked()
    failure = Failure(FailureClass(event.failure_class), event.detail) if event.failure_class else None
    if status := STATUS.get(event.type):
        message.learn(status, failure)


def _prove(event: Event, message: Message, attempt: Attempt | None) -> None:
    """Whatever a provider tells of a message, it has it: an attempt of which that was not known is settled."""
    if attempt:
        attempt.conclude(Attempt.Outcome.ACCEPTED, provider_message_id=_message_id(event))
    message.accepted(event.provider, event.at)


def _message_id(event: Event) -> str:
    headers = ((event.raw or {}).get("message") or {}).get("headers") or {}
    return str(headers.get("message-id") or "")
