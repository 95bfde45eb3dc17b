"""Mailjet."""

import json
import time
from typing import Any

from tests.provider_cases import Answered, Provider, Told


def bounce(error: str, kind: str, *, hard: bool) -> Told:
    fields = {"event": "bounce", "hard_bounce": hard, "blocked": hard, "error": error}
    return Told(f"bounce, {'hard' if hard else 'soft'}, {error}", fields, kind)


def blocked(error: str, kind: str, status: str = "") -> Told:
    return Told(f"blocked, {error}", {"event": "blocked", "error": error}, kind, status)


EVENTS = (
    Told("sent", {"event": "sent", "smtp_reply": "sent (250 2.0.0 OK)"}, "", "delivered"),
    Told("bounce, soft, greylisted", {"event": "bounce", "hard_bounce": False, "error": "greylisted"}, "", "deferred"),
    bounce("user unknown", "hard_bounce", hard=True),
    bounce("mailbox inactive", "hard_bounce", hard=True),
    bounce("invalid domain", "hard_bounce", hard=True),
    bounce("user unknown", "soft_bounce", hard=False),
    bounce("connection issue", "soft_bounce", hard=False),
    bounce("quota exceeded", "mailbox_full", hard=False),
    bounce("content blocked", "blocked", hard=True),
    bounce("policy issue", "blocked", hard=False),
    blocked("preblocked", "listed_unknown"),
    blocked("blacklisted", "listed_unknown"),
    blocked("user unknown", "listed_bounce"),
    blocked("spam reporter", "listed_complaint"),
    blocked("typofix", "invalid", "rejected"),
    blocked("duplicate in campaign", "rejected"),
    Told("spam", {"event": "spam", "source": "JMRPP"}, "complaint"),
    Told("unsub", {"event": "unsub"}, "unsubscribed"),
)


def whole(status: int, code: str, message: str, kind: str) -> Answered:
    body = {"ErrorCode": code, "ErrorMessage": message, "StatusCode": status}
    return Answered(f"{status}, ErrorCode {code}: {message}", status, body, kind)


def of_the_message(status: int, code: str, message: str, kind: str) -> Answered:
    errors = [{"ErrorCode": code, "ErrorMessage": message, "StatusCode": status}]
    body = {"Messages": [{"Status": "error", "Errors": errors}]}
    return Answered(f"{status}, the message's error {code}: {message}", status, body, kind)


ANSWERS = (
    whole(401, "mj-0001", "Your account has been temporarily blocked", "account"),
    whole(400, "mj-0002", "Malformed JSON", "invalid"),
    of_the_message(403, "send-0008", "This is not an authorized sender email address for your account.", "sender"),
    of_the_message(400, "mj-0013", "This is an invalid email address.", "invalid"),
    of_the_message(400, "mj-0004", "Type mismatch.", "invalid"),
    Answered("429 Rate limit exceeded", 429, "Rate limit exceeded", "throttled", {"Content-Type": "text/html"}),
    Answered("500", 500, "", "ambiguous"),
)


def webhook(attempt: Any, payload: dict[str, Any]) -> tuple[Any, dict[str, str]]:
    usual = {"email": attempt.message.address, "time": int(time.time()), "MessageID": 12345678901234567}
    return [usual | {"Payload": json.dumps({"attempt_id": str(attempt.pk)})} | payload], {}


MAILJET = Provider(
    "mailjet", "Mailjet", {"api_key": "key", "secret_key": "secret", "api_url": "{url}/v3.1/"}, EVENTS, ANSWERS, webhook
)
