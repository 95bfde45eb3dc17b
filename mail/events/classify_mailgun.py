"""Classifies Mailgun's events: the "event-data" of its webhooks and the items of its events API. Pure.

Any field may be missing, null or of the wrong type; such a field is ignored.
"""

from collections.abc import Mapping
from typing import Any

from mail.events.classify import Classification, EventType, failed, mapping, one_line
from mail.failure import FailureClass
from mail.smtp.replies import ServerReply

BY_LIST = {
    "suppress-bounce": FailureClass.LISTED_BOUNCE,
    "suppress-complaint": FailureClass.LISTED_COMPLAINT,
    "suppress-unsubscribe": FailureClass.LISTED_UNSUBSCRIBE,
}
BY_OWN_CODE = {
    605: FailureClass.LISTED_BOUNCE,
    606: FailureClass.LISTED_UNSUBSCRIBE,
    607: FailureClass.LISTED_COMPLAINT,
}
"""Reasons and codes of mail that Mailgun did not try to deliver, because of its own suppression lists."""

BLOCK_REASONS = ("espblock", "blacklisted")

TOO_OLD = 602
CANNOT_CONNECT = (498, 499)
"""No MX, or no connection to it: no server has said anything about the address."""


def classify(data: Mapping[str, Any]) -> Classification:
    """data["event"] must be a string."""
    word = str(data["event"])
    match word:
        case "failed":
            return _failure(data)
        case "rejected":
            reject = mapping(data.get("reject"))
            detail = one_line(reject.get("reason"), reject.get("description"))
            return failed(EventType.REJECTED, FailureClass.REJECTED, detail)
        case "complained":
            return failed(EventType.COMPLAINED, FailureClass.COMPLAINT, "")
        case "unsubscribed":
            return failed(EventType.UNSUBSCRIBED, FailureClass.UNSUBSCRIBED, "")
        case "delivered":
            return Classification(word, detail=_detail(data))
        case "clicked":
            return Classification(word, detail=one_line(data.get("url")))
    return Classification(word)


def _failure(data: Mapping[str, Any]) -> Classification:
    reason, status, detail = str(data.get("reason") or ""), mapping(data.get("delivery-status")), _detail(data)
    reply = ServerReply.read(
        status.get("code"), status.get("enhanced-code"), status.get("message"), status.get("description")
    )
    if not _final(data, reason, status, reply):
        return Classification(EventType.DEFERRED, detail=detail)
    not_sent = reason.startswith("suppress-") or reply.code in BY_OWN_CODE
    return failed(EventType.REJECTED if not_sent else EventType.BOUNCED, _kind(reason, status, reply), detail)


def _final(data: Mapping[str, Any], reason: str, status: Mapping[str, Any], reply: ServerReply) -> bool:
    """True if Mailgun will not try again. Reason "old" is final even where severity is "temporary" (no MX)."""
    if reason == "old" or reason.startswith("suppress-") or reply.code in (TOO_OLD, *BY_OWN_CODE):
        return True
    if data.get("severity") in ("permanent", "temporary"):
        return bool(data["severity"] == "permanent")
    if status.get("bounce-type") in ("hard", "soft"):
        return bool(status["bounce-type"] == "hard")
    return reply.permanent


def _kind(reason: str, status: Mapping[str, Any], reply: ServerReply) -> FailureClass:
    if reason.startswith("suppress-"):
        return BY_LIST.get(reason, FailureClass.LISTED_UNKNOWN)
    if reply.code in BY_OWN_CODE:
        return BY_OWN_CODE[reply.code]
    if reason in BLOCK_REASONS:
        return FailureClass.BLOCKED
    if reason == "old" or reply.code == TOO_OLD:
        return _exhausted(status, reply)
    if reply.code in CANNOT_CONNECT:
        return FailureClass.SOFT_BOUNCE
    if kind := reply.failure_class():
        return kind
    if reason in ("bounce", "hardfail"):
        return FailureClass.HARD_BOUNCE
    return FailureClass.BLOCKED if 500 <= reply.code < 600 else FailureClass.SOFT_BOUNCE


def _exhausted(status: Mapping[str, Any], reply: ServerReply) -> FailureClass:
    """Mailgun has tried for hours. The last reply tells whether the mailbox was full."""
    last = ServerReply.read(status.get("last-code"), status.get("last-message"))
    full = FailureClass.MAILBOX_FULL in (reply.failure_class(), last.failure_class())
    return FailureClass.MAILBOX_FULL if full else FailureClass.SOFT_BOUNCE


def _detail(data: Mapping[str, Any]) -> str:
    status = mapping(data.get("delivery-status"))
    text = one_line(status.get("message"), status.get("description"), data.get("reason"))
    delayed = mapping(data.get("flags")).get("is-delayed-bounce") is True
    return f"after it was accepted: {text}" if delayed else text
