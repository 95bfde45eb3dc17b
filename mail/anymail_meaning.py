"""What the events of other providers mean, as Anymail has normalised them. Pure."""

from typing import Any

from anymail.signals import EventType, RejectReason

from mail.failure import FailureClass
from mail.meaning import Meaning, News, Reply, failed, plainly

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
    RejectReason.BOUNCED: FailureClass.HARD_BOUNCE,
    RejectReason.TIMED_OUT: FailureClass.SOFT_BOUNCE,
    RejectReason.SPAM: FailureClass.COMPLAINT,  # an earlier complaint, that the provider remembers
    RejectReason.UNSUBSCRIBED: FailureClass.UNSUBSCRIBED,
}


def meaning(event: Any) -> Meaning:
    """Of an AnymailTrackingEvent; the server's own words are believed before the provider's category."""
    detail = plainly(event.mta_response, event.description)
    match event.event_type:
        case EventType.BOUNCED:
            told = Reply.read(None, event.mta_response, event.description).failure()
            kind = told or BOUNCED.get(event.reject_reason, FailureClass.SOFT_BOUNCE)
            return failed(News.BOUNCED, kind, detail)
        case EventType.REJECTED | EventType.FAILED:
            return failed(News.REJECTED, REJECTED.get(event.reject_reason, FailureClass.REJECTED), detail)
        case EventType.COMPLAINED:
            return failed(News.COMPLAINED, FailureClass.COMPLAINT, "")
        case EventType.UNSUBSCRIBED:
            return failed(News.UNSUBSCRIBED, FailureClass.UNSUBSCRIBED, "")
    return Meaning(QUIET.get(event.event_type, str(event.event_type)), detail=detail)
