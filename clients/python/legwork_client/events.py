"""Server-sent events (WHATWG HTML, 9.2): lines in, events out."""

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    name: str
    data: str
    id: str


class EventParser:
    """Feed it the lines of one stream in turn. last_id: for Last-Event-ID when the stream has to be opened again."""

    def __init__(self) -> None:
        self.last_id = ""
        self._name = ""
        self._data: list[str] = []

    def feed(self, line: str) -> Iterator[Event]:
        """The event that this line completes, if any."""
        if line:
            field, _, value = line.partition(":")
            self._take(field, value.removeprefix(" "))
            return
        if self._data:
            yield Event(self._name or "message", "\n".join(self._data), self.last_id)
        self._name, self._data = "", []

    def _take(self, field: str, value: str) -> None:
        match field:
            case "event":
                self._name = value
            case "data":
                self._data.append(value)
            case "id" if "\0" not in value:
                self.last_id = value
