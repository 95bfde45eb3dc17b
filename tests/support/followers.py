"""Many clients of server-sent events in one thread. Like browsers, they reconnect with Last-Event-ID when cut off."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import urlsplit

from demo.client import FINAL

COME_AGAIN = 0.3
"""Seconds until a client whose stream was cut or refused comes again."""
CONNECTING = 50
"""Clients that are connecting at the same time."""


class Told(NamedTuple):
    id: int
    job: dict[str, Any]


@dataclass
class Follower:
    """told: its events in their order, over all of its connections."""

    told: list[Told] = field(default_factory=list)
    connected: bool = False
    connections: int = 0

    @property
    def status(self) -> str:
        """The last status that it was told."""
        return str(self.told[-1].job["status"]) if self.told else ""

    @property
    def has_the_end(self) -> bool:
        return self.status in FINAL


class Followers:
    """`with Followers(url, token, jobs) as followers:` follows these jobs until each has finished.

    refusals: answers other than 200, by status.
    """

    def __init__(self, url: str, token: str, jobs: Sequence[str]) -> None:
        self.each = {job: Follower() for job in jobs}
        self.refusals: Counter[str] = Counter()
        self._host, self._port = urlsplit(url).hostname, urlsplit(url).port
        self._token = token
        self._gate = asyncio.Semaphore(CONNECTING)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._following = self._loop.create_task(self._follow_all())
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(RuntimeError):  # all have finished
            self._loop.call_soon_threadsafe(self._following.cancel)
        self._thread.join()

    @property
    def connected(self) -> int:
        return sum(follower.connected for follower in self.each.values())

    @property
    def with_the_end(self) -> int:
        return sum(follower.has_the_end for follower in self.each.values())

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._following)
        self._loop.close()

    async def _follow_all(self) -> None:
        await asyncio.gather(*(self._follow(job, follower) for job, follower in self.each.items()))

    async def _follow(self, job: str, follower: Follower) -> None:
        while not follower.has_the_end:
            with suppress(OSError):
                await self._connect_and_read(job, follower)
            follower.connected = False
            if not follower.has_the_end:
                await asyncio.sleep(COME_AGAIN)

    async def _connect_and_read(self, job: str, follower: Follower) -> None:
        """Until the stream ends, or is cut."""
        async with self._gate:
            reader, writer = await asyncio.open_connection(self._host, self._port)
            writer.write(self._request(job, follower))
            answer = await reader.readline()
        try:
            if answer.split()[1:2] != [b"200"]:
                self.refusals[answer.decode().strip()] += 1
                return
            follower.connected = True
            follower.connections += 1
            await _read_events(reader, follower)
        finally:
            writer.close()

    def _request(self, job: str, follower: Follower) -> bytes:
        fields = {"Host": f"{self._host}:{self._port}", "Authorization": f"Token {self._token}"}
        if follower.told:
            fields["Last-Event-ID"] = str(follower.told[-1].id)
        lines = [f"GET /api/v1/jobs/{job}/events/ HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join([*lines, "", ""]).encode()


async def _read_events(reader: asyncio.StreamReader, follower: Follower) -> None:
    """An event counts when its empty line has come. The lines of the chunked coding have no colon."""
    fields: dict[bytes, bytes] = {}
    while line := await reader.readline():
        name, colon, value = line.rstrip(b"\n").partition(b": ")
        if colon:
            fields[name] = value
        elif line == b"\n" and b"data" in fields:
            follower.told.append(Told(int(fields[b"id"]), json.loads(fields[b"data"])))
            fields.clear()
