"""Brevo."""

import json
import time
from typing import Any

from tests.provider_cases import Answered, Provider, Told


def event(name: str, kind: str, reason: str = "", status: str = "") -> Told:
    said = f"{name}, {reason}" if reason else name
    return Told(said, {"event": name, **({"reason": reason} if reason else {})}, kind, status)


EVENTS = (
    event("delivered", "", status="delivered"),
    event("deferred", "", "550 RecipientError: 550 5.1.1 Recipient address rejected", "deferred"),
    event("hard_bounce", "hard_bounce", " RecipientError: 550 5.5.0 Requested action not taken: mailbox unavailable."),
    event("hard_bounce", "soft_bounce", "450 4.2.1 later"),
    event("soft_bounce", "soft_bounce", "undefined Unable to find MX of domain no-mx.example.com"),
    event("soft_bounce", "soft_bounce", "550 5.1.1 they call it soft"),
    event("soft_bounce", "mailbox_full", "552 5.2.2 mailbox full"),
    event("soft_bounce", "blocked", "554 5.7.1 rejected by a block list"),
    event("invalid_email", "hard_bounce"),
    event("blocked", "listed_unknown", "blocked : due to blacklist user"),
    event("error", "rejected"),
    event("spam", "complaint"),
    event("complaint", "complaint"),
    event("unsubscribe", "unsubscribed"),
)


def error(status: int, code: str, message: str, kind: str) -> Answered:
    return Answered(f"{status} {code}: {message}", status, {"code": code, "message": message}, kind)


ANSWERS = (
    error(400, "invalid_parameter", "email is not valid in to", "invalid"),
    error(400, "missing_parameter", "subject is missing", "invalid"),
    error(400, "invalid_parameter", "Sending has been rejected because the sender you used is not valid", "sender"),
    error(400, "not_enough_credits", "You do not have enough credits", "account"),
    error(402, "not_enough_credits", "You do not have enough credits", "account"),
    error(400, "account_under_validation", "Your account is under validation", "account"),
    error(400, "permission_denied", "Your SMTP account is not yet activated", "account"),
    error(401, "unauthorized", "Key not found", "account"),
    error(429, "too_many_requests", "Too many requests", "throttled"),
    Answered("502", 502, "", "ambiguous"),
)


def webhook(attempt: Any, payload: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    usual = {"email": attempt.message.address, "ts_epoch": int(time.time() * 1000), "message-id": "<1@smtp-relay>"}
    return usual | {"X-Mailin-custom": json.dumps({"attempt_id": str(attempt.pk)})} | payload, {}


BREVO = Provider("brevo", "Brevo", {"api_key": "key", "api_url": "{url}/v3/"}, EVENTS, ANSWERS, webhook)
