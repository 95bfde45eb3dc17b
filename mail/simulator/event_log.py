"""The events API: keeps events by time, and finds the pages that a query asks for. The oldest events are dropped."""

import base64
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Self

import orjson

from mail.simulator.events import Event
from mail.simulator.forms import read_date
from mail.simulator.http import RequestError

MAX_ITEMS = 300
"""Per page."""
END_OF_TIME = 1e12
MAX_EVENTS = 250_000
DROPPED_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Query:
    """Which events are wanted. `after`: (timestamp, id) of the last event that the client has seen."""

    begin: float = 0
    end: float = END_OF_TIME
    ascending: bool = False
    limit: int = MAX_ITEMS
    events: tuple[str, ...] = ()
    recipient: str = ""
    message_id: str = ""
    tags: tuple[str, ...] = ()
    after: tuple[float, str] | None = None

    @classmethod
    def from_parameters(cls, given: Mapping[str, list[str]]) -> Self:
        """Raises RequestError(400) for values that Mailgun would not take."""
        one = {name: values[0] for name, values in given.items()}
        begin, end = read_date("begin", one.get("begin", "")), read_date("end", one.get("end", ""))
        ascending = _ascending(one.get("ascending", ""), begin, end)
        earliest, latest = _range(begin, end, ascending)
        limit = one.get("limit", "100")
        if not limit.isdecimal() or not 0 < int(limit) <= MAX_ITEMS:
            raise RequestError(400, f"limit must be from 1 to {MAX_ITEMS}")
        return cls(
            begin=earliest,
            end=latest,
            ascending=ascending,
            limit=int(limit),
            events=tuple(name.strip() for value in given.get("event", []) for name in value.split(" OR ")),
            recipient=one.get("recipient", "").lower(),
            message_id=one.get("message-id", "").strip("<>"),
            tags=tuple(given.get("tags", [])),
        )

    @classmethod
    def from_token(cls, token: str) -> Self:
        """The query of a page's URL. Raises RequestError(400)."""
        try:
            stored = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            for name in ("events", "tags", "after"):
                stored[name] = stored[name] and tuple(stored[name])
            query = cls(**stored)
            query.matches_time(0.0, "")  # fails on values of the wrong type
        except (ValueError, TypeError, KeyError):
            raise RequestError(400, "Invalid page token") from None
        return query

    def token(self) -> str:
        """For the URL of a page."""
        return base64.urlsafe_b64encode(orjson.dumps(asdict(self))).decode().rstrip("=")

    def first_page(self) -> Self:
        return replace(self, after=None)

    def next_page(self, last: Event) -> Self:
        return replace(self, after=(last.at, last.id))

    def matches(self, event: Event) -> bool:
        return (
            self.matches_time(event.at, event.id)
            and (not self.events or event.name in self.events)
            and (not self.recipient or event.recipient.spec.lower() == self.recipient)
            and (not self.message_id or event.mail.id == self.message_id)
            and all(tag in event.mail.tags for tag in self.tags)
        )

    def matches_time(self, at: float, event_id: str) -> bool:
        if not self.begin <= at <= self.end:
            return False
        if self.after is None:
            return True
        return (at, event_id) > self.after if self.ascending else (at, event_id) < self.after


def _ascending(given: str, begin: float | None, end: float | None) -> bool:
    """Without the parameter, the order of begin and end decides; without a begin, the newest come first."""
    if given:
        return given.lower() in ("yes", "true")
    return begin is not None and (end is None or begin <= end)


def _range(begin: float | None, end: float | None, ascending: bool) -> tuple[float, float]:
    """Earliest and latest. The search starts at `begin`, so in descending order begin is the later one."""
    if begin is not None and end is not None:
        return min(begin, end), max(begin, end)
    if begin is not None and not ascending:
        return 0, begin
    return begin or 0, END_OF_TIME if end is None else end


class EventLog:
    """Indexed by time, message and recipient: a page costs the same however many events there are."""

    def __init__(self) -> None:
        self._all: list[Event] = []
        self._by_key: dict[str, deque[Event]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, event: Event) -> None:
        insort(self._all, event, key=_position)
        for key in _keys(event):
            self._by_key.setdefault(key, deque()).append(event)
        if len(self._all) > MAX_EVENTS:
            self._drop(self._all[:DROPPED_AT_ONCE])

    def of_mail(self, mail_id: str) -> list[Event]:
        return list(self._by_key.get(_message_key(mail_id), ()))

    def find(self, query: Query, domain: str, now: float) -> list[Event]:
        """One page."""
        candidates = self._in_range(query)
        if query.message_id or query.recipient:
            key = _message_key(query.message_id) if query.message_id else _recipient_key(query.recipient)
            candidates = sorted(self._by_key.get(key, ()), key=_position, reverse=not query.ascending)
        visible = (event for event in candidates if event.visible_at <= now and event.mail.domain == domain)
        return list(islice((event for event in visible if query.matches(event)), query.limit))

    def clear(self) -> None:
        self._all.clear()
        self._by_key.clear()

    def _in_range(self, query: Query) -> Iterable[Event]:
        """All events from the start of the page on, in the order of the query."""
        if query.ascending:
            first = bisect_left(self._all, query.after or (query.begin, ""), key=_position)
            return islice(self._all, first, None)
        last = bisect_right(self._all, query.after or (query.end, "\U0010ffff"), key=_position)
        return (self._all[index] for index in range(last - 1, -1, -1))

    def _drop(self, events: Sequence[Event]) -> None:
        del self._all[: len(events)]
        for event in events:
            for key in _keys(event):
                self._by_key[key].remove(event)
                if not self._by_key[key]:
                    del self._by_key[key]


def _position(event: Event) -> tuple[float, str]:
    return event.at, event.id


def _keys(event: Event) -> Iterator[str]:
    yield _message_key(event.mail.id)
    yield _recipient_key(event.recipient.spec)


def _message_key(mail_id: str) -> str:
    return f"message {mail_id}"


def _recipient_key(address: str) -> str:
    return f"recipient {address.lower()}"
