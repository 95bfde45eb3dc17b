"""How a mail and its events are shown on the pages: in a word, a color, a line. Pure."""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from mail.simulator.events import Event
from mail.simulator.mails import Mail
from mail.simulator.webhooks import Try

LABEL_BY_SEVERITY = {"temporary": "deferred", "permanent": "failed"}
TONES = {
    "delivered": "good",
    "deferred": "warn",
    "failed": "bad",
    "bounced": "bad",
    "complained": "bad",
    "rejected": "bad",
}
"""CSS classes."""
PRECEDENCE = ["complained", "bounced", "failed", "rejected", "delivered", "deferred", "accepted"]
"""Strongest first."""
REACTIONS = ["opened", "clicked", "unsubscribed"]
IMAGE = re.compile(r"image/[a-z0-9.+-]+")


def event_label(event: Event) -> str:
    """Mailgun's word for the event, with different words for the kinds of failures."""
    if event.step.reason in ("bounce", "suppress-bounce"):
        return "bounced"
    return LABEL_BY_SEVERITY.get(event.step.severity, event.name)


def overall_status(events: Iterable[Event]) -> str:
    """The strongest event of any recipient, as a word."""
    labels = {event_label(event) for event in events}
    return next((label for label in PRECEDENCE if label in labels), "accepted")


def reactions(events: Iterable[Event]) -> list[str]:
    """What recipients have done with the mail."""
    names = {event.name for event in events}
    return [name for name in REACTIONS if name in names]


@dataclass(frozen=True, slots=True)
class EventLine:
    """An event on the page of a mail."""

    label: str
    tone: str
    at: datetime
    recipient: str
    detail: str


def event_line(event: Event) -> EventLine:
    label, step = event_label(event), event.step
    parts = [
        str(step.code) if step.code not in (0, 250) else "",
        step.text if step.code != 250 else "",
        step.description,
    ]
    detail = " ".join(part for part in parts if part) or step.url or (step.reason if event.name == "rejected" else "")
    return EventLine(label, TONES.get(label, ""), as_datetime(event.at), event.recipient.spec, detail)


@dataclass(frozen=True, slots=True)
class TryLine:
    """A try of a webhook on the page of a mail."""

    number: int
    ok: bool
    answer: str


def try_line(sent: Try) -> TryLine:
    return TryLine(sent.number, sent.status is not None and sent.status < 300, str(sent.status or sent.problem))


def as_datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def html_with_images(mail: Mail) -> str:
    """The HTML body, with each inline image in the place of the `cid:` URL that names it."""
    html = mail.html
    for file in mail.files:
        if file.field == "inline" and IMAGE.fullmatch(file.content_type):
            data = f"data:{file.content_type};base64,{base64.b64encode(file.content).decode()}"
            html = html.replace(f"cid:{file.name}", data)
    return html
