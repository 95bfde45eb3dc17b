"""What Mailgun's events mean: the "event-data" of its webhooks, and the items of its events API. Pure.

Fields may be missing, null or of another type in any of them; what is not understood decides nothing.
"""

from collections.abc import Mapping
from typing import Any

from mail.events.classify import Meaning, News, Reply, failed, plainly
from mail.failure import FailureClass

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
"""Reasons and codes of mail that Mailgun did not even try to deliver, because of its own lists."""

BLOCKS = ("espblock", "blacklisted")

TOO_OLD = 602
CANNOT_CONNECT = (498, 499)
"""No MX; no connection to it. Nobody has said anything about the address."""


def meaning(data: Mapping[str, Any]) -> Meaning:
    """Of an event whose "event" is a text."""
    word = str(data["event"])
    match word:
        case "failed":
            return _failure(data)
        case "rejected":
            reject = mapping(data.get("reject"))
            return failed(
                News.REJECTED, FailureClass.REJECTED, plainly(reject.get("reason"), reject.get("description"))
            )
        case "complained":
            return failed(News.COMPLAINED, FailureClass.COMPLAINT, "")
        case "unsubscribed":
            return failed(News.UNSUBSCRIBED, FailureClass.UNSUBSCRIBED, "")
        case "delivered":
            return Meaning(word, detail=_said(data))
        case "clicked":
            return Meaning(word, detail=plainly(data.get("url")))
    return Meaning(word)


def mapping(value: object) -> Mapping[str, Any]:
    """A part of an event that ought to be an object, and empty where it is not."""
    return value if isinstance(value, Mapping) else {}


def _failure(data: Mapping[str, Any]) -> Meaning:
    reason, status, detail = str(data.get("reason") or ""), mapping(data.get("delivery-status")), _said(data)
    reply = _reply(status)
    if not _final(data, reason, status, reply):
        return Meaning(News.DEFERRED, detail=detail)
    if reason.startswith("suppress-") or reply.code in BY_OWN_CODE:
        return failed(News.REJECTED, _kind(reason, status, reply), detail)
    return failed(News.BOUNCED, _kind(reason, status, reply), detail)


def _final(data: Mapping[str, Any], reason: str, status: Mapping[str, Any], reply: Reply) -> bool:
    """The last attempt at an address without MX is called temporary, with the reason old; and old is final."""
    if reason == "old" or reason.startswith("suppress-") or reply.code in (TOO_OLD, *BY_OWN_CODE):
        return True
    if data.get("severity") in ("permanent", "temporary"):
        return bool(data["severity"] == "permanent")
    if status.get("bounce-type") in ("hard", "soft"):
        return bool(status["bounce-type"] == "hard")
    return reply.permanent


def _kind(reason: str, status: Mapping[str, Any], reply: Reply) -> FailureClass:
    if reason.startswith("suppress-"):
        return BY_LIST.get(reason, FailureClass.LISTED_UNKNOWN)
    if known := BY_OWN_CODE.get(reply.code):
        return known
    if reason in BLOCKS:
        return FailureClass.BLOCKED
    if reason == "old" or reply.code == TOO_OLD:
        return _exhausted(status, reply)
    if reply.code in CANNOT_CONNECT:
        return FailureClass.SOFT_BOUNCE
    if told := reply.failure():
        return told
    if reason in ("bounce", "hardfail"):
        return FailureClass.HARD_BOUNCE
    return FailureClass.BLOCKED if 500 <= reply.code < 600 else FailureClass.SOFT_BOUNCE


def _exhausted(status: Mapping[str, Any], reply: Reply) -> FailureClass:
    """Hours of attempts have passed; a mailbox that was full all the time is known by the last of them."""
    last = Reply.read(status.get("last-code"), status.get("last-message"))
    full = FailureClass.MAILBOX_FULL in (reply.failure(), last.failure())
    return FailureClass.MAILBOX_FULL if full else FailureClass.SOFT_BOUNCE


def _reply(status: Mapping[str, Any]) -> Reply:
    return Reply.read(status.get("code"), status.get("enhanced-code"), status.get("message"), status.get("description"))


def _said(data: Mapping[str, Any]) -> str:
    status = mapping(data.get("delivery-status"))
    said = plainly(status.get("message"), status.get("description"), data.get("reason"))
    delayed = mapping(data.get("flags")).get("is-delayed-bounce") is True
    return f"after it was accepted: {said}" if delayed else said
