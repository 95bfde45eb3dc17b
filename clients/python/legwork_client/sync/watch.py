"""Follows a job or message until it has finished: by its stream of events, else by long polls, else by polling."""

import json
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from time import sleep
from typing import Any

import httpx

from legwork_client.errors import ServerError, TooManyRequests, Unreachable, WaitTimeout
from legwork_client.events import EventParser
from legwork_client.retries import retry_after
from legwork_client.sync.connection import Connection

SILENCE = 45.0
"""Seconds without a byte after which a stream is taken for cut: the server sends a comment every 15 s."""
STREAM_FAILURES = 3
"""Streams in a row that bring no event, after which only polls are used."""
LONG_POLL = 20
"""Seconds."""
OUTAGE = 300.0
"""Seconds for which the server may be away while there is no deadline."""


class Watch:
    """url: of the resource. events: of its stream, if it has one. within: seconds, None for no deadline."""

    def __init__(self, connection: Connection, url: str, events: str | None, within: float | None) -> None:
        self._connection = connection
        self._url = url
        self._events = events
        self._deadline = None if within is None else time.monotonic() + within
        self._parser = EventParser()
        self._shown: Any = None
        self._failures = 0

    def states(self) -> Iterator[Any]:
        """Each new state, the present one first and the final one last. Raises WaitTimeout, ApiError, Unreachable."""
        while self._events is not None and self._failures < STREAM_FAILURES:
            with closing(self._streamed()) as streamed:
                for state in streamed:
                    yield state
                    if state["finished_at"]:
                        return
            if self._events is not None:
                self._pause(self._connection.retries.backoff(self._failures + 1))
        for state in self._polled():
            yield state

    def final(self) -> Any:
        """The last of states()."""
        for _ in self.states():
            pass
        return self._shown

    def _streamed(self) -> Generator[Any, None, None]:
        """Until the stream ends, is cut, or turns out not to be offered."""
        self._failures += 1
        headers = {"Accept": "text/event-stream"}
        if self._parser.last_id:
            headers["Last-Event-ID"] = self._parser.last_id
        try:
            with self._connection.stream(str(self._events), headers, min(SILENCE, self._left())) as response:
                if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                    if response.status_code < 500:
                        self._events = None  # not offered, or refused for a reason that the poll will meet as well
                    return
                for line in response.iter_lines():
                    self._left()
                    for event in self._parser.feed(line):
                        self._failures = 0
                        if event.name == "job" and self._is_new(state := json.loads(event.data)):
                            yield state
        except httpx.TransportError:
            return

    def _polled(self) -> Iterator[Any]:
        etag, away_since = "", 0.0
        while True:
            wait = int(min(LONG_POLL, self._left()))
            headers = {"If-None-Match": etag, "Prefer": f"wait={wait}"}
            try:
                response = self._connection.get(self._url, headers=headers, timeout=wait + self._connection.timeout)
            except (Unreachable, ServerError, TooManyRequests):
                away_since = away_since or time.monotonic()
                if self._deadline is None and time.monotonic() - away_since > OUTAGE:
                    raise
                self._pause(self._connection.retries.cap)
                continue
            etag, away_since = response.headers.get("ETag", ""), 0.0
            if response.status_code != 304 and self._is_new(state := response.json()):
                yield state
                if state["finished_at"]:
                    return
            if "Preference-Applied" not in response.headers:
                self._pause(retry_after(response.headers.get("Retry-After")) or 1.0)

    def _is_new(self, state: Any) -> bool:
        is_new = bool(state != self._shown)
        self._shown = state
        return is_new

    def _pause(self, seconds: float) -> None:
        sleep(min(seconds, self._left()))

    def _left(self) -> float:
        """Seconds until the deadline; raises WaitTimeout after it."""
        left = float("inf") if self._deadline is None else self._deadline - time.monotonic()
        if left <= 0:
            raise WaitTimeout(f"{self._url} has not finished in time")
        return left
