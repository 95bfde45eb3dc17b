"""The events that Mailgun's events API gives out, by time; the oldest make room."""

from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from mail.simulator.event_query import Query
from mail.simulator.events import Event

MOST_EVENTS = 250_000
DROPPED_AT_ONCE = 10_000


class EventLog:
    """Indexed by time, message and recipient, so that a page of a long log is found as quickly as of a short one."""

    def __init__(self) -> None:
        self._all: list[Event] = []
        self._by: dict[str, deque[Event]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, event: Event) -> None:
        insort(self._all, event, key=_place)
        for key in _keys(event):
            self._by.setdefault(key, deque()).append(event)
        if len(self._all) > MOST_EVENTS:
            self._drop(self._all[:DROPPED_AT_ONCE])

    def of_mail(self, mail_id: str) -> list[Event]:
        return list(self._by.get(_message_key(mail_id), ()))

    def find(self, query: Query, domain: str, now: float) -> list[Event]:
        """One page."""
        found = (event for event in self._candidates(query) if event.visible_at <= now and event.mail.domain == domain)
        return list(islice((event for event in found if query.wants(event)), query.limit))

    def clear(self) -> None:
        self._all.clear()
        self._by.clear()

    def _candidates(self, query: Query) -> Iterable[Event]:
        """In the order in which they are wanted."""
        if not query.message_id and not query.recipient:
            return _within(self._all, query)
        key = _message_key(query.message_id) if query.message_id else _recipient_key(query.recipient)
        return sorted(self._by.get(key, ()), key=_place, reverse=not query.ascending)

    def _drop(self, events: Sequence[Event]) -> None:
        del self._all[: len(events)]
        for event in events:
            for key in _keys(event):
                self._by[key].remove(event)
                if not self._by[key]:
                    del self._by[key]


def _within(events: list[Event], query: Query) -> Iterator[Event]:
    if query.ascending:
        first = bisect_left(events, query.after or (query.begin, ""), key=_place)
        return islice(events, first, None)
    last = bisect_right(events, query.after or (query.end, "\U0010ffff"), key=_place)
    return (events[place] for place in range(last - 1, -1, -1))


def _place(event: Event) -> tuple[float, str]:
    return event.at, event.id


def _keys(event: Event) -> Iterator[str]:
    yield _message_key(event.mail.id)
    yield _recipient_key(event.recipient.spec)


def _message_key(mail_id: str) -> str:
    return f"message {mail_id}"


def _recipient_key(address: str) -> str:
    return f"recipient {address.lower()}"
