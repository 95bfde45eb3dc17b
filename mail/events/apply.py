"""Applies an event to its message, exactly once: the job mail.event, and the sweep for events whose job was lost."""

from datetime import timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models.functions import Now
from django.utils import timezone

from jobs.models.queryset import delete_in_batches
from mail.events.classify import STATUS, EventType
from mail.events.provider_event import bracketed, message_id_of
from mail.failure import Failure, FailureClass
from mail.importance import Importance
from mail.models import Attempt, Event, Message, WebhookToken
from mail.policy import guard
from mail.policy.apply_policy import clear_strikes, handle_reported_failure
from mail.status import Status

log = structlog.get_logger(__name__)

LOST_AFTER = timedelta(minutes=10)
"""An event that its job, retries included, has not applied within this time is applied by the sweep."""
SWEEP_BATCH = 1000
KEEP_TOKENS = timedelta(hours=48)
"""Twice as long as a signature is valid."""
KEEP_DISREGARDED = timedelta(days=30)

INTERIM = frozenset({EventType.ACCEPTED, EventType.DEFERRED})
"""They add nothing once the attempt has ended."""
ENDS = frozenset({EventType.BOUNCED, EventType.REJECTED})
MAY_HAVE_SENT = ("", Attempt.Outcome.AMBIGUOUS, Attempt.Outcome.ACCEPTED)
"""Outcomes of attempts whose provider has the message, or may have it."""


def apply(event_id: UUID) -> bool:
    """False if it was applied before, or is disregarded. A concurrent call waits for the first to commit."""
    with transaction.atomic():
        if not Event.objects.filter(pk=event_id, applied_at=None, disregarded="").update(applied_at=Now()):
            return False
        event = Event.objects.select_related("message", "attempt").get(pk=event_id)
        if event.message:
            _apply(event, event.message)
    log.info("event_applied", event_id=str(event_id), message_id=str(event.message_id), type=event.type)
    return True


def _apply(event: Event, message: Message) -> None:
    if event.type in EventType.values:
        _accept_attempt(event, message)
    # Events of a message are applied one after the other: the first may change what the second means.
    message = Message.objects.select_for_update().get(pk=message.pk)
    match event.type:
        case EventType.OPENED:
            message.count_open()
        case EventType.CLICKED:
            message.count_click()
        case EventType.DELIVERED:
            if not _bounced_later(event, message) and message.advance_to(STATUS[EventType.DELIVERED]):
                clear_strikes(message.address)
        case _ if _is_stale(event):
            _apply_stale(event, message)
        case _:
            _apply_new(event, message)


def _accept_attempt(event: Event, message: Message) -> None:
    """Any event proves that the provider has the message: settles an attempt that is ambiguous or failed.

    If the message was sent again after this attempt, it may have been sent twice.
    """
    attempt = event.attempt
    if attempt and attempt.outcome != Attempt.Outcome.ACCEPTED:
        message.accept(attempt, bracketed(message_id_of(event.raw or {})))
        later = message.attempts.filter(pk__gt=attempt.pk, unrecorded=False)
        if later.filter(outcome__in=MAY_HAVE_SENT).exists():
            message.mark_possible_duplicate(attempt.provider)


def _bounced_later(event: Event, message: Message) -> bool:
    """True if critical mail bounced after this delivery and is being sent again: the events came out of order."""
    if message.importance != Importance.CRITICAL:
        return False
    bounces = Event.objects.filter(attempt=event.attempt_id, type=EventType.BOUNCED, applied_at__isnull=False)
    return bounces.filter(at__gt=event.at).exists()


def _is_stale(event: Event) -> bool:
    """True if the attempt has ended and this adds nothing: the policy was applied to the end already."""
    ended = Event.objects.filter(attempt=event.attempt_id, type__in=ENDS, applied_at__isnull=False).exclude(pk=event.pk)
    if event.type in INTERIM or event.failure_class == FailureClass.SOFT_BOUNCE:
        return ended.exists()
    return event.type in ENDS and ended.filter(failure_class=event.failure_class).exists()


def _apply_stale(event: Event, message: Message) -> None:
    """Set only the message's status, and not even that if another attempt followed: it must not be stopped."""
    status = STATUS.get(event.type)
    if status and event.type not in INTERIM and not message.pending and message.attempts.last() == event.attempt:
        message.advance_to(status, _failure(event))


def _apply_new(event: Event, message: Message) -> None:
    """Apply the policy, and then set the status unless the message is sent again."""
    failure, delivered = _failure(event), _delivered_by_another(event, message)
    resends = failure is not None and (
        handle_reported_failure(message, failure, provider=event.provider, delivered_by_another=delivered).resends
    )
    status = STATUS.get(event.type)
    if status and not delivered and not resends:
        message.advance_to(status, failure)
    guard.check_soon(message)


def _delivered_by_another(event: Event, message: Message) -> bool:
    """True if this ends one attempt, and another has delivered the message without a later bounce."""
    if event.type not in ENDS or message.status != Status.DELIVERED:
        return False
    applied = Event.objects.filter(message=message, attempt__isnull=False, applied_at__isnull=False)
    bounced = applied.filter(type=EventType.BOUNCED).values("attempt")
    return (
        applied.filter(type=EventType.DELIVERED).exclude(attempt__in=bounced).exclude(attempt=event.attempt_id).exists()
    )


def _failure(event: Event) -> Failure | None:
    if not event.failure_class:
        return None
    kind = FailureClass(event.failure_class)
    return Failure(kind, event.detail or kind.label.lower())


# --- maintenance ------------------------------------------------------------------------------------------------


def apply_lost_events() -> int:
    """Apply the events that no job has applied within LOST_AFTER; returns how many."""
    before = timezone.now() - LOST_AFTER
    unapplied = Event.objects.filter(applied_at=None, disregarded="").exclude(source=Event.Source.OURS)
    lost = unapplied.filter(received_at__lt=before).order_by("received_at").values_list("pk", flat=True)
    return sum(map(_try_to_apply, list(lost[:SWEEP_BATCH])))


def _try_to_apply(event_id: UUID) -> bool:
    """An event that cannot be applied is logged, and must not block the others."""
    try:
        return apply(event_id)
    except Exception:
        log.exception("event_not_applied", event_id=str(event_id))
        return False


def delete_used_tokens() -> int:
    return delete_in_batches(WebhookToken.objects.filter(used_at__lt=timezone.now() - KEEP_TOKENS))


def delete_disregarded_events() -> int:
    """They belong to no message that they would be deleted with, and may contain personal data."""
    before = timezone.now() - KEEP_DISREGARDED
    return delete_in_batches(Event.objects.exclude(disregarded="").filter(received_at__lt=before))
