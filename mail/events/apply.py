"""What an event does to its message, once: the job mail.event, and the sweep after events whose job was lost."""

from datetime import timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models.queryset import delete_in_batches
from mail.events.classify import STATUS, News
from mail.events.provider_event import bracketed, message_id_of
from mail.failure import Failure, FailureClass
from mail.importance import Importance
from mail.models import Attempt, Event, Message, WebhookToken
from mail.policy import apply_policy, guard
from mail.status import Status

log = structlog.get_logger(__name__)

LOST_AFTER = timedelta(minutes=10)
"""What a worker has not applied by then, its retries included, is looked after by the sweep."""
SWEPT_AT_ONCE = 1000
TOKENS_ARE_KEPT = timedelta(hours=48)
"""Twice as long as a signature is taken for good."""
DISREGARDED_ARE_KEPT = timedelta(days=30)

WEAK = frozenset({News.ACCEPTED, News.DEFERRED})
"""What says nothing any more once the end of an attempt is known."""
ENDS = frozenset({News.BOUNCED, News.REJECTED})


def apply(event_id: UUID) -> bool:
    """Let the event have its effect; False when it has had it. Whoever comes second waits for the first to commit."""
    with transaction.atomic():
        if not Event.objects.filter(pk=event_id, applied_at=None, disregarded="").update(applied_at=Now()):
            return False
        event = Event.objects.select_related("message", "attempt").get(pk=event_id)
        if event.message:
            _apply(event, event.message)
    log.info("event_applied", event_id=str(event_id), message_id=str(event.message_id), type=event.type)
    return True


def _apply(event: Event, message: Message) -> None:
    if event.type in News.values:
        _prove(event, message)
    # One event of a message after the other: what the first does decides what the second means.
    message = Message.objects.select_for_update().get(pk=message.pk)
    match event.type:
        case News.OPENED:
            message.opened()
        case News.CLICKED:
            message.clicked()
        case News.DELIVERED:
            if not _bounced_later(event, message) and message.learn(STATUS[News.DELIVERED]):
                apply_policy.forgive(message.address)
        case _ if _is_old(event):
            _note(event, message)
        case _:
            _learn(event, message)


def _prove(event: Event, message: Message) -> None:
    """Whatever a provider tells of a message, it has it: that was not known of an attempt that is unclear or failed."""
    attempt = event.attempt
    if attempt and attempt.outcome != Attempt.Outcome.ACCEPTED:
        message.accept(attempt, bracketed(message_id_of(event.raw or {})))


def _bounced_later(event: Event, message: Message) -> bool:
    """Whether critical mail was taken and bounced after that, and is being sent again for it: told in another order."""
    if message.importance != Importance.CRITICAL:
        return False
    later = Event.objects.filter(attempt=event.attempt_id, type=News.BOUNCED, applied_at__isnull=False)
    return later.filter(at__gt=event.at).exists()


def _is_old(event: Event) -> bool:
    """Whether the attempt's end is known, and this says no more than that: the policy has been followed already."""
    ended = Event.objects.filter(attempt=event.attempt_id, type__in=ENDS, applied_at__isnull=False).exclude(pk=event.pk)
    if event.type in WEAK:
        return ended.exists()
    if event.failure_class == FailureClass.SOFT_BOUNCE:
        return ended.exists()
    return event.type in ENDS and ended.filter(failure_class=event.failure_class).exists()


def _note(event: Event, message: Message) -> None:
    """It still counts for the message's status, unless the attempt was followed by another, which it must not stop."""
    status = STATUS.get(event.type)
    if status and event.type not in WEAK and not message.pending and message.attempts.last() == event.attempt:
        message.learn(status, _failure(event))


def _learn(event: Event, message: Message) -> None:
    failure, arrived = _failure(event), _arrived_by_another(event, message)
    decision = apply_policy.deal_with(message, failure, provider=event.provider, arrived=arrived) if failure else None
    status = STATUS.get(event.type)
    if status and not arrived and not (decision and decision.resends):
        message.learn(status, failure)
    guard.watch(message)


def _arrived_by_another(event: Event, message: Message) -> bool:
    """Whether this is the end of one attempt, and another has delivered the message for good."""
    if event.type not in ENDS or message.status != Status.DELIVERED:
        return False
    told = Event.objects.filter(message=message, attempt__isnull=False, applied_at__isnull=False)
    bounced = told.filter(type=News.BOUNCED).values("attempt")
    return told.filter(type=News.DELIVERED).exclude(attempt__in=bounced).exclude(attempt=event.attempt_id).exists()


def _failure(event: Event) -> Failure | None:
    if not event.failure_class:
        return None
    kind = FailureClass(event.failure_class)
    return Failure(kind, event.detail or kind.label.lower())


# --- chores -----------------------------------------------------------------------------------------------------


def lost_events() -> int:
    """Apply what no job has applied, though it should have long ago; how many there were."""
    before = timezone.now() - LOST_AFTER
    lost = Event.objects.filter(applied_at=None, disregarded="", received_at__lt=before)
    return sum(map(_applied, list(_of_providers(lost).values_list("pk", flat=True)[:SWEPT_AT_ONCE])))


def _of_providers(events: QuerySet[Event]) -> QuerySet[Event]:
    return events.exclude(source=Event.Source.OURS).order_by("received_at")


def _applied(event_id: UUID) -> bool:
    """One that cannot be applied must not be in the way of the others."""
    try:
        return apply(event_id)
    except Exception:
        log.exception("event_not_applied", event_id=str(event_id))
        return False


def used_tokens() -> int:
    return delete_in_batches(WebhookToken.objects.filter(used_at__lt=timezone.now() - TOKENS_ARE_KEPT))


def disregarded_events() -> int:
    """They belong to no message with which they could go, and may name people."""
    before = timezone.now() - DISREGARDED_ARE_KEPT
    return delete_in_batches(Event.objects.exclude(disregarded="").filter(received_at__lt=before))
