"""What the events API is asked for, and how its pages go on. Pure."""

import base64
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Self

import orjson

from mail.simulator.dates import read_date
from mail.simulator.events import Event
from mail.simulator.http import RefusedError

MOST_ITEMS = 300
END_OF_TIME = 1e12


@dataclass(frozen=True, slots=True)
class Query:
    """Which events are wanted. `after` is the (timestamp, id) of the last one that the client has seen."""

    begin: float = 0
    end: float = END_OF_TIME
    ascending: bool = False
    limit: int = MOST_ITEMS
    events: tuple[str, ...] = ()
    recipient: str = ""
    message_id: str = ""
    tags: tuple[str, ...] = ()
    after: tuple[float, str] | None = None

    @classmethod
    def of_parameters(cls, given: Mapping[str, list[str]]) -> Self:
        """RefusedError(400) for parameters that are not Mailgun's."""
        one = {name: values[0] for name, values in given.items()}
        begin, end = read_date("begin", one.get("begin", "")), read_date("end", one.get("end", ""))
        ascending = _ascending(one.get("ascending", ""), begin, end)
        earliest, latest = _range(begin, end, ascending)
        return cls(
            begin=earliest,
            end=latest,
            ascending=ascending,
            limit=_limit(one.get("limit", "100")),
            events=tuple(name.strip() for value in given.get("event", []) for name in value.split(" OR ")),
            recipient=one.get("recipient", "").lower(),
            message_id=one.get("message-id", "").strip("<>"),
            tags=tuple(given.get("tags", [])),
        )

    def continued(self, last: Event) -> Self:
        return replace(self, after=(last.at, last.id))

    def from_start(self) -> Self:
        return replace(self, after=None)

    def token(self) -> str:
        """For the URL of a page."""
        return base64.urlsafe_b64encode(orjson.dumps(asdict(self))).decode().rstrip("=")

    @classmethod
    def of_token(cls, token: str) -> Self:
        try:
            stored = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
            for name in ("events", "tags", "after"):
                stored[name] = stored[name] and tuple(stored[name])
            query = cls(**stored)
            query.wants_at(0.0, "")
        except (ValueError, TypeError, KeyError):
            raise RefusedError(400, "Invalid page token") from None
        return query

    def wants(self, event: Event) -> bool:
        return (
            self.wants_at(event.at, event.id)
            and (not self.events or event.name in self.events)
            and (not self.recipient or event.recipient.spec.lower() == self.recipient)
            and (not self.message_id or event.mail.id == self.message_id)
            and all(tag in event.mail.tags for tag in self.tags)
        )

    def wants_at(self, at: float, event_id: str) -> bool:
        if not self.begin <= at <= self.end:
            return False
        if self.after is None:
            return True
        return (at, event_id) > self.after if self.ascending else (at, event_id) < self.after


def _ascending(given: str, begin: float | None, end: float | None) -> bool:
    """Where nothing is said, the order of begin and end says it; and without a begin, the newest come first."""
    if given:
        return given.lower() in ("yes", "true")
    return begin is not None and (end is None or begin <= end)


def _range(begin: float | None, end: float | None, ascending: bool) -> tuple[float, float]:
    """`begin` is where the search starts, so in descending order it is the later one."""
    if begin is not None and end is not None:
        return min(begin, end), max(begin, end)
    if begin is not None and not ascending:
        return 0, begin
    return begin or 0, END_OF_TIME if end is None else end


def _limit(given: str) -> int:
    if not given.isdecimal() or not 0 < int(given) <= MOST_ITEMS:
        raise RefusedError(400, f"limit must be from 1 to {MOST_ITEMS}")
    return int(given)
