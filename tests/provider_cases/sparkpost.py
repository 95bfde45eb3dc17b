"""SparkPost."""

import time
from typing import Any

from tests.provider_cases import Answered, Provider, Told


def bounce(number: int, what: str, kind: str, reason: str = "", status: str = "", sort: str = "bounce") -> Told:
    said = f"{sort}, class {number} ({what})" + (f", {reason}" if reason else "")
    return Told(said, {"type": sort, "bounce_class": str(number), "raw_reason": reason or None}, kind, status)


EVENTS = (
    Told("delivery", {"type": "delivery"}, "", "delivered"),
    bounce(21, "DNS failure", "", "454 4.4.4 no MX or A for domain", "deferred", sort="delay"),
    bounce(10, "invalid recipient", "hard_bounce", "550 5.1.1 User unknown"),
    bounce(30, "no RCPT", "hard_bounce"),
    bounce(10, "invalid recipient", "soft_bounce", "450 4.1.1 try later"),
    bounce(10, "invalid recipient", "hard_bounce", "550 5.1.1 User unknown", sort="out_of_band"),
    bounce(1, "undetermined", "soft_bounce"),
    bounce(20, "soft bounce", "soft_bounce", "550 5.1.1 they call it soft"),
    bounce(21, "DNS failure", "soft_bounce", "554 5.4.4 no MX"),
    bounce(24, "timeout", "soft_bounce"),
    bounce(40, "generic", "soft_bounce"),
    bounce(70, "transient failure", "soft_bounce"),
    bounce(22, "mailbox full", "mailbox_full", "552 5.2.2 full"),
    bounce(23, "too large", "invalid", "552 5.3.4 too large", "bounced"),
    bounce(50, "mail block", "blocked"),
    bounce(51, "spam block", "blocked", "554 5.7.1 block list"),
    bounce(52, "spam content", "blocked"),
    bounce(54, "relaying denied", "blocked"),
    bounce(60, "auto-reply", "", status="sent"),
    bounce(90, "unsubscribe", "unsubscribed"),
    Told(
        "generation_rejection, 554 5.7.1 recipient address suppressed",
        {"type": "generation_rejection", "raw_reason": "554 5.7.1 recipient address suppressed due to customer policy"},
        "listed_unknown",
    ),
    Told(
        "policy_rejection, class 25 (admin failure)",
        {"type": "policy_rejection", "bounce_class": "25", "raw_reason": "550 5.7.1 relaying denied by policy"},
        "rejected",
    ),
    Told("generation_failure", {"type": "generation_failure", "raw_reason": "554 5.3.3 [internal]"}, "rejected"),
    Told("spam_complaint", {"type": "spam_complaint"}, "complaint"),
    Told("list_unsubscribe", {"type": "list_unsubscribe"}, "unsubscribed"),
)


def error(status: int, message: str, kind: str, code: str = "", description: str = "") -> Answered:
    body = {"errors": [{"message": message, "code": code, "description": description}]}
    return Answered(f"{status} {code} {message}".replace("  ", " "), status, body, kind)


ANSWERS = (
    error(400, "Invalid domain", "sender", "7001", "Unconfigured Sending Domain <mg.example.org>"),
    error(400, "Message generation rejected", "invalid", "1902"),
    error(401, "Unauthorized.", "account"),
    error(403, "Forbidden.", "sender"),
    error(420, "Exceed Sending Limit (daily)", "throttled", "2102"),
    error(422, "required field is missing", "invalid", "1400"),
    error(429, "Too many requests", "throttled"),
    Answered(
        "200, no recipient accepted",
        200,
        {"results": {"total_accepted_recipients": 0, "total_rejected_recipients": 1, "id": "1"}},
        "invalid",
    ),
    Answered("503", 503, "", "ambiguous"),
)


def webhook(attempt: Any, payload: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    usual = {"event_id": f"sp-{attempt.pk}", "timestamp": str(int(time.time())), "raw_rcpt_to": attempt.message.address}
    usual |= {"rcpt_meta": {"attempt_id": str(attempt.pk)}}
    return [{"msys": {"message_event": usual | payload}}], {}


SPARKPOST = Provider("sparkpost", "SparkPost", {"api_key": "key", "api_url": "{url}/api/v1/"}, EVENTS, ANSWERS, webhook)
