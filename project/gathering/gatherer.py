"""Gatherer: many awaiting callers are answered together, by one call in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

import structlog

from rest import outage

log = structlog.get_logger(__name__)

Key = TypeVar("Key")
Answer = TypeVar("Answer")

BOUND = 64
"""Keys that one call answers at most, by default."""


class Gatherer(Generic[Key, Answer]):
    """Answers keys by `execute`, which takes a list of keys and returns as many answers; None if it has none.

    Keys that arrive during a call are answered together by the next one. No key waits in order to be gathered: while
    the thread is idle, a single key is a call of its own. The more keys arrive, the less each of them costs.
    """

    def __init__(self, name: str, execute: Callable[[list[Key]], Sequence[Answer | None]], bound: int = BOUND) -> None:
        self._name = name
        self._execute = execute
        self._bound = bound
        self._arrivals: SimpleQueue[tuple[Key, asyncio.Future[Answer | None]]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def answer(self, key: Key) -> Answer | None:
        """None also if the call failed, which is logged: the caller takes another way."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        future: asyncio.Future[Answer | None] = asyncio.get_running_loop().create_future()
        self._arrivals.put((key, future))
        return await future

    def _run(self) -> None:
        while True:
            arrived = [self._arrivals.get()]
            with suppress(Empty):
                while len(arrived) < self._bound:
                    arrived.append(self._arrivals.get_nowait())
            answers = self._answers([key for key, _ in arrived])
            futures = [future for _, future in arrived]
            with suppress(RuntimeError):  # the loop was closed: nobody waits any more
                futures[0].get_loop().call_soon_threadsafe(_resolve, futures, answers)

    def _answers(self, keys: list[Key]) -> Sequence[Answer | None]:
        try:
            return self._execute(keys)
        except Exception as error:
            if not outage.database.note(error):
                log.warning("gathering_failed", gatherer=self._name, requests=len(keys), exc_info=True)
            return [None] * len(keys)


def _resolve(futures: "Sequence[asyncio.Future[Answer | None]]", answers: Sequence[Answer | None]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if not future.done():
            future.set_result(answer)
