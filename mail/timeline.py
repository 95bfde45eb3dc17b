"""What has happened to a message, in the order in which it did: our own steps, attempts, and what providers said."""

from datetime import datetime
from typing import Any, TypedDict
from uuid import UUID

from mail.models import Attempt, Event


class Entry(TypedDict):
    """One line of a timeline. provider: None where it has nothing to do with one."""

    at: datetime
    type: str
    detail: str
    provider: str | None


ENDS = {
    Attempt.Outcome.ACCEPTED: "accepted",
    Attempt.Outcome.TRANSIENT: "attempt_failed",
    Attempt.Outcome.PERMANENT: "attempt_failed",
    Attempt.Outcome.AMBIGUOUS: "attempt_unclear",
}
"""What the end of an attempt is called."""


def timeline(message_id: UUID, created_at: datetime) -> list[Entry]:
    """Oldest first. Events that were not believed are left to operators."""
    entries = [Entry(at=created_at, type="created", detail="", provider=None)]
    for attempt in Attempt.objects.filter(message=message_id):
        entries += _of_attempt(attempt)
    events = Event.objects.filter(message=message_id, disregarded="").defer("raw")
    entries += [
        Entry(at=event.at, type=event.type, detail=event.detail, provider=event.provider or None) for event in events
    ]
    return sorted(entries, key=lambda entry: entry["at"])


def _of_attempt(attempt: Attempt) -> list[Entry]:
    begun = Entry(at=attempt.started_at, type="attempt_started", detail="", provider=attempt.provider)
    if attempt.finished_at is None:
        return [begun]
    words: list[Any] = [attempt.failure_class, attempt.detail]
    kind = ENDS.get(Attempt.Outcome(attempt.outcome), attempt.outcome) if attempt.outcome else "attempt_ended"
    detail = ": ".join(word for word in words if word)
    return [begun, Entry(at=attempt.finished_at, type=kind, detail=detail, provider=attempt.provider)]
