"""The timeline of a message: our own steps, attempts and provider events, in the order in which they happened.

Providers' clocks differ from ours, so the times of their events are corrected: none is before its attempt began or
after we received it, and an attempt is accepted before any of its events.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypedDict
from uuid import UUID

from mail.events.classify import EventType
from mail.models import Attempt, Event


class Entry(TypedDict):
    """One line of a timeline. provider: None for our own steps."""

    at: datetime
    type: str
    detail: str
    provider: str | None


class SortKey(NamedTuple):
    """Orders entries by time, and by step within the same instant."""

    at: datetime
    step: int


CREATED, STARTED, ENDED, REPORTED = range(4)
ORDER = (
    *(EventType.ACCEPTED, EventType.DEFERRED, EventType.DELIVERED, EventType.REJECTED, EventType.BOUNCED),
    *(EventType.OPENED, EventType.CLICKED, EventType.UNSUBSCRIBED, EventType.COMPLAINED),
)
"""Order of events to which a provider gives the same time."""
END_TYPES = {
    Attempt.Outcome.ACCEPTED: "accepted",
    Attempt.Outcome.TRANSIENT: "attempt_failed",
    Attempt.Outcome.PERMANENT: "attempt_failed",
    Attempt.Outcome.AMBIGUOUS: "attempt_unclear",
}
"""Entry type by the outcome of an attempt."""

Sortable = tuple[SortKey, Entry]


def timeline(message_id: UUID, created_at: datetime) -> list[Entry]:
    """Oldest first. Disregarded events are left out; operators see them in the admin."""
    return timelines({message_id: created_at})[message_id]


def timelines(created_at: Mapping[UUID, datetime]) -> dict[UUID, list[Entry]]:
    """The timelines of many messages, by id. created_at: when each message was created. Two queries."""
    events: dict[UUID, list[Event]] = {message_id: [] for message_id in created_at}
    for event in Event.objects.filter(message__in=created_at, disregarded="").defer("raw"):
        events[UUID(str(event.message_id))].append(event)
    attempts: dict[UUID, dict[UUID, Attempt]] = {message_id: {} for message_id in created_at}
    for attempt in Attempt.objects.filter(message__in=created_at, unrecorded=False):
        attempts[attempt.message_id][attempt.pk] = attempt
    return {
        message_id: _timeline(moment, events[message_id], attempts[message_id])
        for message_id, moment in created_at.items()
    }


def _timeline(created_at: datetime, events: list[Event], attempts: dict[UUID, Attempt]) -> list[Entry]:
    entries = [_entry(created_at, CREATED, "created", "", "")]
    events = sorted(events, key=_by_provider_clock)
    for attempt in attempts.values():
        entries += _attempt_entries(attempt, [event for event in events if event.attempt_id == attempt.pk])
    for event in events:
        if event.attempt_id not in attempts:
            entries.append(_entry(event.at, REPORTED, event.type, event.detail, event.provider))
    return [entry for _, entry in sorted(entries, key=lambda pair: pair[0])]


def timeline_of_new(created_at: datetime) -> list[Entry]:
    """The timeline of a message that was stored just now."""
    return [_entry(created_at, CREATED, "created", "", "")[1]]


def _by_provider_clock(event: Event) -> tuple[datetime, int]:
    return event.at, ORDER.index(EventType(event.type)) if event.type in EventType.values else len(ORDER)


def _attempt_entries(attempt: Attempt, events: Sequence[Event]) -> list[Sortable]:
    """The start and end of the attempt, and its events in the provider's order."""
    entries = [_entry(attempt.started_at, STARTED, "attempt_started", "", attempt.provider)]
    times = [max(at, attempt.started_at) for at in _corrected_times(events)]
    if ended_at := attempt.finished_at:
        if attempt.outcome == Attempt.Outcome.ACCEPTED:
            # An event may have concluded an ambiguous attempt: the provider accepted it before that event.
            ended_at = min([ended_at, *times])
        words: list[Any] = [attempt.failure_class, attempt.detail]
        kind = END_TYPES.get(Attempt.Outcome(attempt.outcome), attempt.outcome) if attempt.outcome else "attempt_ended"
        entries.append(_entry(ended_at, ENDED, kind, ": ".join(word for word in words if word), attempt.provider))
    for position, (at, event) in enumerate(zip(times, events, strict=True)):
        entries.append(_entry(at, REPORTED + position, event.type, event.detail, event.provider))
    return entries


def _corrected_times(events: Sequence[Event]) -> list[datetime]:
    """The events' times, none later than its receipt or than the time of an event after it."""
    times: list[datetime] = []
    for event in reversed(events):
        times.append(min([event.at, event.received_at, *times[-1:]]))
    return times[::-1]


def _entry(at: datetime, step: int, kind: str, detail: str, provider: str) -> Sortable:
    return SortKey(at, step), Entry(at=at, type=kind, detail=detail, provider=provider or None)
