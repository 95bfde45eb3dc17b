"""The half of the bench that runs in a peer's own environment: it enqueues, waits and reads results when told to.

`python -m benchmarks.client PEER` reads one JSON request a line and answers each with a line. Standard library only.
"""

import importlib
import json
import os
import random
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, cast

from benchmarks.work import ANSWER

LONGEST_PAUSE, SHORTEST_PAUSE, FIRST_PAUSE = 0.25, 0.003, 0.02
"""Seconds between two looks at how many results are stored: long while much is left, short near the end."""
READ_BACK = 50
"""How many of the results are read and checked through the peer's own API."""
PROBE_PAUSE = (0.02, 0.4)
"""Seconds of idleness before a probe, drawn evenly: longer than any peer's poll, so that each phase of it is met."""
PROBE_PATIENCE = 30.0


class Peer(Protocol):
    """What each module of benchmarks.peers offers. It has `enqueue_many(count)` too if the peer has a bulk call."""

    def prepare(self) -> None:
        """Create missing tables; empty the queue and delete all results."""

    def enqueue(self) -> Any:
        """Enqueue one no-op through the peer's Python API. Returns the argument of result()."""

    def stored(self) -> int:
        """How many no-ops have their results stored. Must be cheap."""

    def result(self, handle: Any) -> object:
        """The result of a no-op, read as a user of the peer would."""

    def probe(self, path: str) -> None:
        """Enqueue one benchmarks.work.tell_start."""


class Client:
    """Each request names one of the public methods; its return value goes back as JSON."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.handles: list[Any] = []

    def prepare(self) -> None:
        self.handles.clear()
        self.peer.prepare()

    def enqueue(self, count: int) -> float:
        began = time.monotonic()
        self.handles = [self.peer.enqueue() for _ in range(count)]
        return time.monotonic() - began

    def can_enqueue_many(self) -> bool:
        return getattr(self.peer, "enqueue_many", None) is not None

    def enqueue_many(self, count: int) -> float:
        enqueue_many = cast("Callable[[int], None]", getattr(self.peer, "enqueue_many"))  # noqa: B009
        began = time.monotonic()
        enqueue_many(count)
        return time.monotonic() - began

    def stored(self) -> int:
        return self.peer.stored()

    def wait(self, goal: int, within: float) -> float | None:
        """The moment (time.monotonic) at which goal results were stored; None when that takes longer than within."""
        began = time.monotonic()
        for pause in pauses(goal, self.peer.stored):
            if time.monotonic() - began > within:
                return None
            time.sleep(pause)
        return time.monotonic()

    def check_results(self) -> None:
        for handle in random.sample(self.handles, min(READ_BACK, len(self.handles))):
            if (result := self.peer.result(handle)) != ANSWER:
                raise ValueError(f"The result of {handle} is {result!r} and not {ANSWER}.")

    def latencies(self, probes: int) -> list[float]:
        """Seconds from the call that enqueues a job to the job's first line, on idle workers."""
        path = Path(os.environ["BENCH_SOCKET"])
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(str(path))
            receiver.settimeout(PROBE_PATIENCE)
            try:
                return [self._latency(str(path), receiver) for _ in range(probes)]
            finally:
                path.unlink()

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function that only this peer has."""
        return getattr(self.peer, name)(*arguments)

    def _latency(self, path: str, receiver: socket.socket) -> float:
        time.sleep(random.uniform(*PROBE_PAUSE))  # noqa: S311 nothing secret
        called = time.monotonic()
        self.peer.probe(path)
        return float(receiver.recv(100)) - called


def pauses(goal: int, stored: Callable[[], int]) -> Iterator[float]:
    """How long to sleep before each further look, until goal is reached.

    Half of the time that the rest should take at the rate so far: so there are few looks, and the end is seen at once.
    """
    began, before = time.monotonic(), stored()
    while (now := stored()) < goal:
        pace = (now - before) / (time.monotonic() - began)
        left = (goal - now) / pace if pace else FIRST_PAUSE
        yield statistics.median([SHORTEST_PAUSE, left / 2, LONGEST_PAUSE])


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever a peer prints is not an answer
    client = Client(cast("Peer", importlib.import_module(f"benchmarks.peers.{sys.argv[1]}")))
    for line in sys.stdin:
        name, arguments = json.loads(line)
        answers.write(json.dumps(getattr(client, name)(*arguments)) + "\n")


if __name__ == "__main__":
    main()
