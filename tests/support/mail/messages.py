"""What tests of the mail API start from: messages as clients post them, and rows in any state."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from rest_framework.test import APIClient

from mail.models import Message
from mail.status import TERMINAL, Status

MAIL = "/api/v1/mail/"
MESSAGES = f"{MAIL}messages/"
BATCH = f"{MESSAGES}batch/"
MINIMAL = {"to": "ada@example.org", "subject": "Hi", "text": "There"}


def post(api: APIClient, header_fields: dict[str, str] | None = None, /, **fields: Any) -> Any:
    """POST mail/messages/ with a message that is good but for these fields; ... leaves one out."""
    body = {name: value for name, value in (MINIMAL | fields).items() if value is not ...}
    return api.post(MESSAGES, body, headers=header_fields or {})


def post_batch(api: APIClient, *messages: Any, **headers: str) -> Any:
    return api.post(BATCH, {"messages": list(messages)}, headers=headers)


def make_message(status: str = Status.QUEUED, **fields: Any) -> Message:
    now = timezone.now()
    usual: dict[str, Any] = {"to": "Ada <ada@example.org>", "address": "ada@example.org", "sender": "l@mg.example.org"}
    usual |= {"subject": "Hi", "text": "There", "expires_at": now + timedelta(days=1), "status": status}
    if status in TERMINAL:
        usual |= {"finished_at": now}
    return Message.objects.create(**usual | fields)


def url(message: Message, *more: str) -> str:
    return "/".join([f"{MESSAGES}{message.pk}", *more, ""])
