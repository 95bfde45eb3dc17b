"""SendGrid."""

import time
from typing import Any

from tests.provider_cases import Answered, Provider, Told


def bounce(sort: str, kind: str, reason: str, status: str = "") -> Told:
    fields = {"event": "bounce", "type": sort, "reason": reason, "status": status}
    return Told(f"bounce, type {sort}, {reason}", fields, kind)


def dropped(reason: str, kind: str, status: str = "") -> Told:
    return Told(f"dropped, {reason}", {"event": "dropped", "reason": reason}, kind, status)


EVENTS = (
    Told("delivered", {"event": "delivered", "response": "250 OK"}, "", "delivered"),
    Told("deferred", {"event": "deferred", "response": "450 4.2.1 later"}, "", "deferred"),
    bounce("bounce", "hard_bounce", "550 5.1.1 The email account that you tried to reach does not exist.", "5.1.1"),
    bounce("bounce", "soft_bounce", "450 4.2.1 receiving mail too quickly", "4.2.1"),
    bounce("bounce", "soft_bounce", "unable to connect", "4.4.1"),
    bounce("bounce", "mailbox_full", "552 5.2.2 mailbox full", "5.2.2"),
    bounce("blocked", "blocked", "554 5.7.1 rejected", "5.7.1"),
    bounce("blocked", "soft_bounce", "421 4.7.0 temporarily deferred", "4.7.0"),
    bounce("blocked", "hard_bounce", "550 5.4.1 Recipient address rejected: Access denied", "5.4.1"),
    bounce("expired", "soft_bounce", "could not be delivered in time"),
    dropped("Bounced Address", "listed_bounce"),
    dropped("Spam Reporting Address", "listed_complaint"),
    dropped("Unsubscribed Address", "listed_unsubscribe"),
    dropped("Invalid", "invalid", "rejected"),
    dropped("Spam Content (if spam checker app enabled)", "rejected"),
    Told("spamreport", {"event": "spamreport"}, "complaint"),
    Told("unsubscribe", {"event": "unsubscribe"}, "unsubscribed"),
)


def error(status: int, message: str, kind: str, **more: Any) -> Answered:
    return Answered(f"{status} {message}", status, {"errors": [{"message": message, "field": None}]}, kind, **more)


ANSWERS = (
    error(400, "Bad Request", "invalid"),
    error(401, "The provided authorization grant is invalid, expired, or revoked", "account"),
    error(401, "Maximum credits exceeded", "account"),
    error(403, "The from address does not match a verified Sender Identity", "sender"),
    error(413, "Payload too large", "invalid"),
    error(429, "too many requests", "throttled", headers={"X-RateLimit-Reset": "90"}, pause=90),
    Answered("503", 503, "", "ambiguous"),
)


def webhook(attempt: Any, payload: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    usual = {"email": attempt.message.address, "timestamp": int(time.time()), "sg_event_id": f"sg-{attempt.pk}"}
    return [usual | {"attempt_id": str(attempt.pk)} | payload], {}


NOTE = """\
Anymail no longer tests its backend for SendGrid. The cases below run through that backend, not against SendGrid."""

SENDGRID = Provider("sendgrid", "SendGrid", {"api_key": "key", "api_url": "{url}/v3/"}, EVENTS, ANSWERS, webhook, NOTE)
