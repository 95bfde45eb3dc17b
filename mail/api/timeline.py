"""What has happened to a message, in the order in which it did: our own steps, attempts, and what providers said.

Providers have clocks of their own. Their events are brought into our time: none happened before its attempt began, or
after we heard of it, and an attempt was accepted before all that the provider says of it.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

from mail.events.classify import News
from mail.models import Attempt, Event


class Entry(TypedDict):
    """One line of a timeline. provider: None where it has nothing to do with one."""

    at: datetime
    type: str
    detail: str
    provider: str | None


class Place(NamedTuple):
    """Where an entry stands: by time, and by step where two have the same."""

    at: datetime
    step: int


CREATED, BEGUN, ENDED, TOLD = range(4)
ORDER = (
    *(News.ACCEPTED, News.DEFERRED, News.DELIVERED, News.REJECTED, News.BOUNCED),
    *(News.OPENED, News.CLICKED, News.UNSUBSCRIBED, News.COMPLAINED),
)
"""In which things happen that a provider dates alike."""
ENDS = {
    Attempt.Outcome.ACCEPTED: "accepted",
    Attempt.Outcome.TRANSIENT: "attempt_failed",
    Attempt.Outcome.PERMANENT: "attempt_failed",
    Attempt.Outcome.AMBIGUOUS: "attempt_unclear",
}
"""What the end of an attempt is called."""

Placed = tuple[Place, Entry]


def timeline(message_id: UUID, created_at: datetime) -> list[Entry]:
    """Oldest first. Events that were not believed are left to operators."""
    placed = [_placed(created_at, CREATED, "created", "", "")]
    events = sorted(Event.objects.filter(message=message_id, disregarded="").defer("raw"), key=_by_provider_clock)
    attempts = Attempt.objects.filter(message=message_id).in_bulk()
    for attempt in attempts.values():
        placed += _of_attempt(attempt, [event for event in events if event.attempt_id == attempt.pk])
    for event in events:
        if event.attempt_id not in attempts:
            placed.append(_placed(event.at, TOLD, event.type, event.detail, event.provider))
    return [entry for _, entry in sorted(placed, key=lambda pair: pair[0])]


def _by_provider_clock(event: Event) -> tuple[datetime, int]:
    return event.at, ORDER.index(News(event.type)) if event.type in News.values else len(ORDER)


def _of_attempt(attempt: Attempt, events: Sequence[Event]) -> list[Placed]:
    """The attempt, and what its provider told of it, in the provider's order."""
    placed = [_placed(attempt.started_at, BEGUN, "attempt_started", "", attempt.provider)]
    times = [max(at, attempt.started_at) for at in _in_our_time(events)]
    if ended_at := attempt.finished_at:
        if attempt.outcome == Attempt.Outcome.ACCEPTED:
            # One that was unclear at first has ended before the event that cleared it up.
            ended_at = min([ended_at, *times])
        words: list[Any] = [attempt.failure_class, attempt.detail]
        kind = ENDS.get(Attempt.Outcome(attempt.outcome), attempt.outcome) if attempt.outcome else "attempt_ended"
        placed.append(_placed(ended_at, ENDED, kind, ": ".join(word for word in words if word), attempt.provider))
    for place, (at, event) in enumerate(zip(times, events, strict=True)):
        placed.append(_placed(at, TOLD + place, event.type, event.detail, event.provider))
    return placed


def _in_our_time(events: Sequence[Event]) -> list[datetime]:
    """Each one's time, but not later than it was heard of, nor than what came after it was."""
    times: list[datetime] = []
    for event in reversed(events):
        times.append(min([event.at, event.received_at, *times[-1:]]))
    return times[::-1]


def _placed(at: datetime, step: int, kind: str, detail: str, provider: str) -> Placed:
    return Place(at, step), Entry(at=at, type=kind, detail=detail, provider=provider or None)
