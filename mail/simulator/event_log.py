"""The events that Mailgun's events API gives out, newest last; the oldest make room."""

from collections import deque
from collections.abc import Iterable, Iterator

from mail.simulator.event_query import Query
from mail.simulator.events import Event

MOST_EVENTS = 50_000


class EventLog:
    """Indexed by what look-ups ask for, so that they are quick in a log of fifty thousand."""

    def __init__(self) -> None:
        self._all: deque[Event] = deque()
        self._by: dict[str, deque[Event]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, event: Event) -> None:
        self._all.append(event)
        for key in _keys(event):
            self._by.setdefault(key, deque()).append(event)
        if len(self._all) > MOST_EVENTS:
            self._drop(self._all.popleft())

    def of_mail(self, mail_id: str) -> list[Event]:
        return list(self._by.get(_message_key(mail_id), ()))

    def find(self, query: Query, domain: str, now: float) -> list[Event]:
        """One page."""
        found = (event for event in self._candidates(query) if event.visible_at <= now and event.mail.domain == domain)
        wanted = sorted((e for e in found if query.wants(e)), key=_place, reverse=not query.ascending)
        return wanted[: query.limit]

    def clear(self) -> None:
        self._all.clear()
        self._by.clear()

    def _candidates(self, query: Query) -> Iterable[Event]:
        if query.message_id:
            return self._by.get(_message_key(query.message_id), ())
        if query.recipient:
            return self._by.get(_recipient_key(query.recipient), ())
        return self._all

    def _drop(self, event: Event) -> None:
        for key in _keys(event):
            self._by[key].popleft()
            if not self._by[key]:
                del self._by[key]


def _place(event: Event) -> tuple[float, str]:
    return event.at, event.id


def _keys(event: Event) -> Iterator[str]:
    yield _message_key(event.mail.id)
    yield _recipient_key(event.recipient.spec)


def _message_key(mail_id: str) -> str:
    return f"message {mail_id}"


def _recipient_key(address: str) -> str:
    return f"recipient {address.lower()}"
