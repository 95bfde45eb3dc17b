"""How a mail stands, in a word and at a glance, from its events. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from mail.simulator.events import Event
from mail.simulator.webhooks import Try

WORDS = {"temporary": "deferred", "permanent": "failed"}
TONES = {
    "delivered": "good",
    "deferred": "warn",
    "failed": "bad",
    "bounced": "bad",
    "complained": "bad",
    "rejected": "bad",
}
PRECEDENCE = ["complained", "bounced", "failed", "rejected", "delivered", "deferred", "accepted"]
"""The strongest first."""
MARKS = ["opened", "clicked", "unsubscribed"]


def label(event: Event) -> str:
    """The event in one word: Mailgun's, but failures are told apart."""
    if event.step.reason in ("bounce", "suppress-bounce"):
        return "bounced"
    return WORDS.get(event.step.severity, event.name)


def standing(events: Iterable[Event]) -> str:
    """The strongest thing that has happened to any of the recipients."""
    words = {label(event) for event in events}
    return next((word for word in PRECEDENCE if word in words), "accepted")


def marks(events: Iterable[Event]) -> list[str]:
    words = {event.name for event in events}
    return [mark for mark in MARKS if mark in words]


@dataclass(frozen=True, slots=True)
class EventLine:
    """An event, as the message's page shows it."""

    label: str
    tone: str
    at: datetime
    recipient: str
    detail: str


def event_line(event: Event) -> EventLine:
    word, step = label(event), event.step
    parts = [
        str(step.code) if step.code not in (0, 250) else "",
        step.text if step.code != 250 else "",
        step.description,
    ]
    detail = " ".join(part for part in parts if part) or step.url or (step.reason if event.name == "rejected" else "")
    return EventLine(word, TONES.get(word, ""), moment(event.at), event.recipient.spec, detail)


@dataclass(frozen=True, slots=True)
class TryLine:
    """A try of a webhook, as the message's page shows it."""

    number: int
    ok: bool
    answer: str


def try_line(sent: Try) -> TryLine:
    return TryLine(sent.number, sent.status is not None and sent.status < 300, str(sent.status or sent.problem))


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
