"""A client of server-sent events: reads a stream in a thread of its own, and keeps the events."""

import json
import threading
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import requests

from demo.eventually import eventually
from tests.support.stack import Client
from tests.support.timeouts import PATIENCE


class Event(NamedTuple):
    name: str
    id: int
    data: Any


class EventStream:
    """`with EventStream(client, "jobs/events/") as stream:`. events: in their order. ended: whether it is over."""

    def __init__(self, client: Client, path: str, after: int | None = None) -> None:
        self.events: list[Event] = []
        self.comments = 0
        self.retry = 0
        self.ended = False
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        self.response = client.another().get(path, stream=True, headers=headers)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()

    @property
    def last_id(self) -> int | None:
        return max((event.id for event in self.events), default=None)

    def wait_for(self, condition: Callable[[Event], bool], within: float = PATIENCE) -> Event:
        """The first event for which this is true."""
        return eventually(
            lambda: next((event for event in list(self.events) if condition(event)), None),
            within,
            f"the event among {[(event.id, event.data['status']) for event in self.events]}",
        )

    def wait_for_status(self, *statuses: str) -> Event:
        return self.wait_for(lambda event: event.data["status"] in statuses)

    def wait_for_end(self, within: float = PATIENCE) -> None:
        eventually(lambda: self.ended, within, "the end of the stream")

    def wait_until_open(self) -> None:
        """Until the server has sent something."""
        eventually(lambda: self.comments or self.events, PATIENCE, "the beginning of the stream")

    def _read(self) -> None:
        fields: dict[str, str] = {}
        try:
            for line in self.response.iter_lines(chunk_size=1):
                self._take(line.decode(), fields)
        except (requests.RequestException, AttributeError, ValueError, OSError):
            pass  # it was cut, or closed by the test
        self.ended = True

    def _take(self, line: str, fields: dict[str, str]) -> None:
        if line.startswith(":"):
            self.comments += 1
        elif line:
            name, _, value = line.partition(": ")
            fields[name] = value
        else:
            if "data" in fields:
                self.events.append(Event(fields["event"], int(fields["id"]), json.loads(fields["data"])))
            self.retry = int(fields.get("retry", self.retry))
            fields.clear()
