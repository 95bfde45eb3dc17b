"""What the events of other providers mean, as Anymail has normalised them. Pure.

Three things are read of a failure: the provider's own word for it, the server's reply, and Anymail's category.
"""

from typing import Any

from anymail.signals import EventType, RejectReason

from mail.events import provider_reasons
from mail.events.classify import Meaning, News, Reply, failed, plainly
from mail.failure import FailureClass

QUIET = {
    EventType.QUEUED: News.ACCEPTED,
    EventType.SENT: News.ACCEPTED,
    EventType.DELIVERED: News.DELIVERED,
    EventType.DEFERRED: News.DEFERRED,
    EventType.OPENED: News.OPENED,
    EventType.CLICKED: News.CLICKED,
}

BOUNCED = {
    RejectReason.INVALID: FailureClass.HARD_BOUNCE,
    RejectReason.BOUNCED: FailureClass.HARD_BOUNCE,
    RejectReason.TIMED_OUT: FailureClass.SOFT_BOUNCE,
    RejectReason.BLOCKED: FailureClass.BLOCKED,
    RejectReason.SPAM: FailureClass.BLOCKED,  # a server's judgement of the content, not the recipient's
    RejectReason.UNSUBSCRIBED: FailureClass.UNSUBSCRIBED,
}

REJECTED = {
    RejectReason.INVALID: FailureClass.INVALID,
    RejectReason.BOUNCED: FailureClass.LISTED_BOUNCE,
    RejectReason.TIMED_OUT: FailureClass.SOFT_BOUNCE,
    RejectReason.SPAM: FailureClass.LISTED_COMPLAINT,
    RejectReason.UNSUBSCRIBED: FailureClass.LISTED_UNSUBSCRIBE,
}

FAILURES = (EventType.BOUNCED, EventType.REJECTED, EventType.FAILED)
COARSE = (*FAILURES, EventType.COMPLAINED, EventType.UNKNOWN)
"""Categories within which the provider's own word decides."""

BY_SERVER = (
    FailureClass.HARD_BOUNCE,
    FailureClass.SOFT_BOUNCE,
    FailureClass.MAILBOX_FULL,
    FailureClass.BLOCKED,
)
"""What only the recipient's server can have said, whether the provider calls it bounced or rejected."""

NOT_SENT = (
    FailureClass.LISTED_BOUNCE,
    FailureClass.LISTED_COMPLAINT,
    FailureClass.LISTED_UNSUBSCRIBE,
    FailureClass.LISTED_UNKNOWN,
    FailureClass.REJECTED,
)

SUPPRESSED = "recipient address suppressed"
"""SparkPost's words in a rejection of its own."""


def meaning(event: Any, esp: str = "") -> Meaning:
    """Of an AnymailTrackingEvent. esp: Anymail's name of the service, whose own words are known."""
    detail = plainly(event.mta_response, event.description)
    word = provider_reasons.known(esp, event.esp_event) if event.event_type in COARSE else None
    if isinstance(word, str) and not isinstance(word, FailureClass):
        return Meaning(word, detail=detail)
    if event.event_type in FAILURES or word in (*BY_SERVER, *NOT_SENT):
        return _failure(event, esp, word, detail)
    match event.event_type:
        case EventType.COMPLAINED:
            return failed(News.COMPLAINED, FailureClass.COMPLAINT, "")
        case EventType.UNSUBSCRIBED:
            return failed(News.UNSUBSCRIBED, FailureClass.UNSUBSCRIBED, "")
    return Meaning(QUIET.get(event.event_type, str(event.event_type)), detail=detail)


def _failure(event: Any, esp: str, word: FailureClass | None, detail: str) -> Meaning:
    kind = _kind(event, esp, word)
    if kind in BY_SERVER:
        return failed(News.BOUNCED, kind, detail)
    if kind in NOT_SENT:
        return failed(News.REJECTED, kind, detail)
    return failed(News.BOUNCED if event.event_type == EventType.BOUNCED else News.REJECTED, kind, detail)


def _kind(event: Any, esp: str, word: FailureClass | None) -> FailureClass:
    # A provider's description of its own word is no reply: Postmark's of soft bounces speaks of full mailboxes.
    said_else = None if word else event.description
    told = Reply.read(None, event.mta_response, provider_reasons.status_code(esp, event.esp_event), said_else)
    if word == FailureClass.SOFT_BOUNCE:
        said = told.failure()
        return said if said in (FailureClass.MAILBOX_FULL, FailureClass.BLOCKED) else word
    if word in (FailureClass.HARD_BOUNCE, FailureClass.BLOCKED):
        return told.failure() or word
    if word:
        return word
    if event.event_type == EventType.BOUNCED:
        return told.failure() or BOUNCED.get(event.reject_reason, FailureClass.SOFT_BOUNCE)
    if SUPPRESSED in told.words.lower():
        return FailureClass.LISTED_UNKNOWN
    return REJECTED.get(event.reject_reason, FailureClass.REJECTED)
