"""Classifies the events of all other providers, as Anymail has normalized them. Pure.

A failure is classified by the provider's own reason, the receiving server's reply, and Anymail's category.
"""

from typing import Any

from anymail.signals import EventType as AnymailEvent
from anymail.signals import RejectReason

from mail.events import provider_reasons
from mail.events.classify import Classification, EventType, failed, one_line
from mail.failure import FailureClass
from mail.smtp.replies import ServerReply

WITHOUT_FAILURE = {
    AnymailEvent.QUEUED: EventType.ACCEPTED,
    AnymailEvent.SENT: EventType.ACCEPTED,
    AnymailEvent.DELIVERED: EventType.DELIVERED,
    AnymailEvent.DEFERRED: EventType.DEFERRED,
    AnymailEvent.OPENED: EventType.OPENED,
    AnymailEvent.CLICKED: EventType.CLICKED,
}

BOUNCED = {
    RejectReason.INVALID: FailureClass.HARD_BOUNCE,
    RejectReason.BOUNCED: FailureClass.HARD_BOUNCE,
    RejectReason.TIMED_OUT: FailureClass.SOFT_BOUNCE,
    RejectReason.BLOCKED: FailureClass.BLOCKED,
    RejectReason.SPAM: FailureClass.BLOCKED,  # the judgement of a filter, not of the recipient
    RejectReason.UNSUBSCRIBED: FailureClass.UNSUBSCRIBED,
}

REJECTED = {
    RejectReason.INVALID: FailureClass.INVALID,
    RejectReason.BOUNCED: FailureClass.LISTED_BOUNCE,
    RejectReason.TIMED_OUT: FailureClass.SOFT_BOUNCE,
    RejectReason.SPAM: FailureClass.LISTED_COMPLAINT,
    RejectReason.UNSUBSCRIBED: FailureClass.LISTED_UNSUBSCRIBE,
}

FAILURES = (AnymailEvent.BOUNCED, AnymailEvent.REJECTED, AnymailEvent.FAILED)
DECIDED_BY_REASON = (*FAILURES, AnymailEvent.COMPLAINED, AnymailEvent.UNKNOWN)
"""Categories that are too coarse: the provider's own reason, if known, decides."""

BY_SERVER = (
    FailureClass.HARD_BOUNCE,
    FailureClass.SOFT_BOUNCE,
    FailureClass.MAILBOX_FULL,
    FailureClass.BLOCKED,
)
"""Said by the recipient's server, whether the provider reports it as bounced or as rejected."""

NOT_SENT = (
    FailureClass.LISTED_BOUNCE,
    FailureClass.LISTED_COMPLAINT,
    FailureClass.LISTED_UNSUBSCRIBE,
    FailureClass.LISTED_UNKNOWN,
    FailureClass.REJECTED,
)

SUPPRESSED = "recipient address suppressed"
"""SparkPost's text for a rejection by its own list."""


def classify(event: Any, esp: str = "") -> Classification:
    """event: an AnymailTrackingEvent. esp: Anymail's name of the service."""
    detail = one_line(event.mta_response, event.description)
    reason = provider_reasons.look_up(esp, event.esp_event) if event.event_type in DECIDED_BY_REASON else None
    if isinstance(reason, str) and not isinstance(reason, FailureClass):
        return Classification(reason, detail=detail)
    if event.event_type in FAILURES or reason in (*BY_SERVER, *NOT_SENT):
        return _failure(event, esp, reason, detail)
    match event.event_type:
        case AnymailEvent.COMPLAINED:
            return failed(EventType.COMPLAINED, FailureClass.COMPLAINT, "")
        case AnymailEvent.UNSUBSCRIBED:
            return failed(EventType.UNSUBSCRIBED, FailureClass.UNSUBSCRIBED, "")
    return Classification(WITHOUT_FAILURE.get(event.event_type, str(event.event_type)), detail=detail)


def _failure(event: Any, esp: str, reason: FailureClass | None, detail: str) -> Classification:
    kind = _kind(event, esp, reason)
    if kind in BY_SERVER:
        return failed(EventType.BOUNCED, kind, detail)
    if kind in NOT_SENT:
        return failed(EventType.REJECTED, kind, detail)
    return failed(EventType.BOUNCED if event.event_type == AnymailEvent.BOUNCED else EventType.REJECTED, kind, detail)


def _kind(event: Any, esp: str, reason: FailureClass | None) -> FailureClass:
    # The description of a known reason is not a server's reply: Postmark's for soft bounces mentions full mailboxes.
    description = None if reason else event.description
    reply = ServerReply.read(None, event.mta_response, provider_reasons.status_code(esp, event.esp_event), description)
    if reason == FailureClass.SOFT_BOUNCE:
        by_reply = reply.failure_class()
        return by_reply if by_reply in (FailureClass.MAILBOX_FULL, FailureClass.BLOCKED) else reason
    if reason in (FailureClass.HARD_BOUNCE, FailureClass.BLOCKED):
        return reply.failure_class() or reason
    if reason:
        return reason
    if event.event_type == AnymailEvent.BOUNCED:
        return reply.failure_class() or BOUNCED.get(event.reject_reason, FailureClass.SOFT_BOUNCE)
    if SUPPRESSED in reply.text.lower():
        return FailureClass.LISTED_UNKNOWN
    return REJECTED.get(event.reject_reason, FailureClass.REJECTED)
