"""Mailgun as simulated by tests: events in its documented forms, signed webhooks, and the messages they are about."""

import hashlib
import hmac
import json
import secrets
import time
from itertools import count
from typing import Any

from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from mail.models import Attempt, Event, Message
from mail.status import Status
from tests.support.mail.messages import make_message

KEY = "signing-key-of-the-simulator"
DOMAIN = "mg.example.org"
URL = "/webhooks/mailgun/tracking/"
ADA = "ada@example.org"

_ids = count(1)


def make_sent_message(status: str = Status.SENT, **fields: Any) -> Message:
    """A message that Mailgun has, without attempts."""
    return make_message(status, **{"provider": "mailgun"} | fields)


def make_attempt(message: Message | None = None, outcome: str = Attempt.Outcome.ACCEPTED, **fields: Any) -> Attempt:
    """A call of Mailgun for this message, or a new one."""
    fields = {"provider": "mailgun", **fields}
    if outcome == Attempt.Outcome.ACCEPTED:
        fields = {"provider_message_id": f"<{next(_ids)}@{DOMAIN}>", **fields}
    ended = {"finished_at": timezone.now()} if outcome else {}
    return Attempt.objects.create(message=message or make_sent_message(), outcome=outcome, **ended | fields)


def make_event(attempt: Attempt | None, event: str = "delivered", **fields: Any) -> dict[str, Any]:
    """The event-data of an event about this attempt."""
    address = attempt.message.address if attempt else ADA
    message_id = (attempt.provider_message_id if attempt else "").strip("<>") or f"{next(_ids)}@{DOMAIN}"
    usual: dict[str, Any] = {
        "id": f"id-{next(_ids)}",
        "timestamp": round(time.time(), 6),
        "event": event,
        "recipient": address,
        "domain": {"name": DOMAIN},
        "user-variables": {"attempt_id": str(attempt.pk)} if attempt else {},
        "message": {"headers": {"to": address, "message-id": message_id, "subject": "Hello"}},
    }
    return usual | fields


def failure(attempt: Attempt, severity: str = "permanent", reason: str = "bounce", **fields: Any) -> dict[str, Any]:
    """The event-data of a failed event; code, message and so on are the delivery-status's."""
    return make_event(attempt, "failed", severity=severity, reason=reason, **{"delivery-status": fields})


def sign(timestamp: object = None, token: str = "", key: str = KEY) -> dict[str, Any]:
    timestamp = str(int(time.time())) if timestamp is None else timestamp
    token = token or secrets.token_hex(25)
    right = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    return {"timestamp": timestamp, "token": token, "signature": right}


def tell(data: object, signature: dict[str, Any] | None = None, **more: Any) -> HttpResponse:
    """A webhook with this event-data, signed as Mailgun does it."""
    return post({"signature": signature or sign(), "event-data": data}, **more)


def post(body: object, url: str = URL, **more: Any) -> HttpResponse:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    more = {"content_type": "application/json", **more}
    # Not its post(), which would encode the body as the content type says.
    return Client(raise_request_exception=False, enforce_csrf_checks=True).generic("POST", url, content, **more)


def only_event() -> Event:
    return Event.objects.get()
