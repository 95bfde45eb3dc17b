"""The providers' own reasons for failures, which Anymail's normalized event no longer tells apart. Pure.

mail.events.classify_anymail looks here first. An event's reason is built from its own fields, the most exact first.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mail.events.classify import mapping
from mail.failure import FailureClass

HARD, SOFT, FULL = FailureClass.HARD_BOUNCE, FailureClass.SOFT_BOUNCE, FailureClass.MAILBOX_FULL
BLOCKED, INVALID, REJECTED = FailureClass.BLOCKED, FailureClass.INVALID, FailureClass.REJECTED
LISTED = FailureClass.LISTED_UNKNOWN

AUTORESPONDED, DEFERRED, NOT_SPAM = "autoresponded", "deferred", "not_spam"
"""Events that are no failure: they are stored under these names."""

REASONS: Mapping[str, Mapping[str, FailureClass | str]] = {
    # bounceType and bounceSubType; complaintSubType and complaintFeedbackType.
    "amazon_ses": {
        "Bounce Permanent": HARD,
        "Bounce Permanent Suppressed": FailureClass.LISTED_BOUNCE,
        "Bounce Permanent OnAccountSuppressionList": LISTED,
        "Bounce Permanent UnsubscribedRecipient": FailureClass.LISTED_UNSUBSCRIBE,
        "Bounce Transient": SOFT,
        "Bounce Transient MailboxFull": FULL,
        "Bounce Transient MessageTooLarge": INVALID,
        "Bounce Transient ContentRejected": BLOCKED,
        "Bounce Transient AttachmentRejected": BLOCKED,
        "Bounce Undetermined": SOFT,
        "Complaint OnAccountSuppressionList": FailureClass.LISTED_COMPLAINT,
        "Complaint not-spam": NOT_SPAM,
        "DeliveryDelay": DEFERRED,
    },
    # Type, or the SuppressionReason of a SubscriptionChange.
    "postmark": {
        "HardBounce": HARD,
        "SoftBounce": SOFT,
        "Blocked": BLOCKED,
        "DMARCPolicy": BLOCKED,
        "SpamNotification": BLOCKED,  # from a filter; the recipient's own is SpamComplaint
        "VirusNotification": BLOCKED,
        "BadEmailAddress": INVALID,
        "ManuallyDeactivated": LISTED,
        "Unconfirmed": REJECTED,
        "SMTPApiError": REJECTED,
        "TemplateRenderingFailed": REJECTED,
    },
    # type of a bounce; reason of a dropped message.
    "sendgrid": {
        "bounce bounce": HARD,
        "bounce blocked": BLOCKED,
        "bounce expired": SOFT,
        "dropped bounced address": FailureClass.LISTED_BOUNCE,
        "dropped spam reporting address": FailureClass.LISTED_COMPLAINT,
        "dropped unsubscribed address": FailureClass.LISTED_UNSUBSCRIBE,
        "dropped invalid": INVALID,
    },
    "brevo": {
        "hard_bounce": HARD,
        "soft_bounce": SOFT,
        "invalid_email": HARD,
        "blocked": LISTED,
        "error": REJECTED,
    },
    # hard_bounce, and error.
    "mailjet": {
        "bounce hard": HARD,
        "bounce soft": SOFT,
        "bounce hard quota exceeded": FULL,
        "bounce soft quota exceeded": FULL,
        **{
            f"bounce {sort} {error}": BLOCKED
            for sort in ("hard", "soft")
            for error in ("sender blocked", "content blocked", "policy issue", "relay/access denied", "blacklisted")
        },
        "blocked preblocked": LISTED,
        "blocked blacklisted": LISTED,
        "blocked user unknown": FailureClass.LISTED_BOUNCE,
        "blocked mailbox inactive": FailureClass.LISTED_BOUNCE,
        "blocked spam reporter": FailureClass.LISTED_COMPLAINT,
        "blocked typofix": INVALID,
    },
    # bounce_class.
    "sparkpost": {
        **{f"bounce {number}": HARD for number in (10, 30)},
        **{f"bounce {number}": SOFT for number in (1, 20, 21, 24, 40, 70)},
        **{f"bounce {number}": BLOCKED for number in (25, 50, 51, 52, 53, 54)},
        "bounce 22": FULL,
        "bounce 23": INVALID,
    },
}
"""By Anymail's name of the service: a failure class, or the name of an event that is no failure."""

SOFT_WORDS = ("soft", "transient")
"""How other providers mark a soft bounce, in one of SOFT_FIELDS."""
SOFT_FIELDS = ("event", "type", "bounce_type", "bouncetype", "state")
LEVELS = 4
"""How deep SOFT_FIELDS are searched for."""


def look_up(esp: str, raw: object) -> FailureClass | str | None:
    """The entry of REASONS for this event; None if there is none."""
    reasons, names = REASONS.get(esp), NAMES.get(esp)
    if not reasons or not names:
        return SOFT if esp != "mailgun" and _is_soft(raw, LEVELS) else None
    return next((reasons[name] for name in names(mapping(raw)) if name in reasons), None)


def status_code(esp: str, raw: object) -> object:
    """The enhanced status code that some events have beside the server's reply."""
    event = mapping(raw)
    if esp == "amazon_ses":
        recipients = mapping(event.get("bounce")).get("bouncedRecipients")
        first = recipients[0] if isinstance(recipients, list) and recipients else None
        return mapping(first).get("status")
    return event.get("status") if esp == "sendgrid" else None


def _amazon_ses(event: Mapping[str, Any]) -> Iterator[str]:
    kind = str(event.get("eventType") or event.get("notificationType") or "")
    bounce, complaint = mapping(event.get("bounce")), mapping(event.get("complaint"))
    if kind == "Bounce":
        yield f"{kind} {bounce.get('bounceType')} {bounce.get('bounceSubType')}"
        yield f"{kind} {bounce.get('bounceType')}"
    elif kind == "Complaint":
        yield f"{kind} {complaint.get('complaintSubType')}"
        yield f"{kind} {complaint.get('complaintFeedbackType')}"
    else:
        yield kind


def _postmark(event: Mapping[str, Any]) -> Iterator[str]:
    yield str(event.get("Type") or event.get("SuppressionReason") or "")


def _sendgrid(event: Mapping[str, Any]) -> Iterator[str]:
    kind = str(event.get("event"))
    for field in ("type", "reason"):
        yield f"{kind} {event.get(field)}".lower()


def _brevo(event: Mapping[str, Any]) -> Iterator[str]:
    yield str(event.get("event"))


def _mailjet(event: Mapping[str, Any]) -> Iterator[str]:
    kind, error = str(event.get("event")), event.get("error")
    if kind == "bounce":
        kind = f"{kind} {'hard' if event.get('hard_bounce') is True else 'soft'}"
    yield f"{kind} {error}"
    yield kind


def _sparkpost(event: Mapping[str, Any]) -> Iterator[str]:
    inner = mapping(next(iter(mapping(event.get("msys")).values()), None))
    if inner.get("type") in ("bounce", "out_of_band"):
        yield f"bounce {inner.get('bounce_class')}"


NAMES: Mapping[str, Callable[[Mapping[str, Any]], Iterator[str]]] = {
    "amazon_ses": _amazon_ses,
    "postmark": _postmark,
    "sendgrid": _sendgrid,
    "brevo": _brevo,
    "mailjet": _mailjet,
    "sparkpost": _sparkpost,
}


def _is_soft(raw: object, levels: int) -> bool:
    if not levels or not isinstance(raw, Mapping):
        return False
    for name, value in raw.items():
        if isinstance(value, Mapping) and _is_soft(value, levels - 1):
            return True
        named = isinstance(value, str) and str(name).lower() in SOFT_FIELDS
        if named and any(word in value.lower() for word in SOFT_WORDS):
            return True
    return False
