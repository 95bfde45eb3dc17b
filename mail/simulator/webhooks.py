"""Sends webhooks, and again when they fail, as often and as late as Mailgun does."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import orjson
import urllib3

from mail.simulator.events import Event, event_data
from mail.simulator.faults import Fault
from mail.simulator.outcomes import MINUTE
from mail.simulator.signature import signature_block

PAUSES = [5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 60 * MINUTE, 120 * MINUTE, 240 * MINUTE]
"""Of Mailgun's time, between the tries."""
NEVER_AGAIN = 406
THREADS = 16
TIMEOUT = 30.0
REMEMBERED = 5000


@dataclass(frozen=True, slots=True)
class Try:
    """`status` is None where there was no answer; `problem` says why."""

    at: float
    event: Event
    token: str
    number: int
    status: int | None
    problem: str


class Webhooks:
    """The threads do nothing but wait for answers: urllib3 keeps their connections."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._pool = urllib3.PoolManager(maxsize=THREADS, retries=False, timeout=TIMEOUT)
        self._threads = ThreadPoolExecutor(THREADS, "webhook")
        self.tries: deque[Try] = deque(maxlen=REMEMBERED)

    async def tell(self, url: str, event: Event, faults: Mapping[str, Fault]) -> dict[str, object] | None:
        """The first try. What it sent, if that has to be tried again."""
        if not url:
            return None
        payload = self._payload(event, faults)
        again = await self._try(url, event, payload, 1)
        if "doubled" in faults:
            await self._try(url, event, payload, 1)
        return payload if again else None

    async def tell_again(self, url: str, event: Event, payload: dict[str, object], time_scale: float) -> None:
        """The other tries, all with the same signature block."""
        for number, pause in enumerate(PAUSES, start=2):
            await asyncio.sleep(pause * time_scale)
            if not await self._try(url, event, payload, number):
                return

    def _payload(self, event: Event, faults: Mapping[str, Fault]) -> dict[str, object]:
        data = event_data(event)
        if "swapped" in faults:
            data["recipient"] = f"somebody-else@{event.recipient.domain}"
        key = f"not {self._key}" if "forged" in faults else self._key
        return {"signature": signature_block(key), "event-data": data}

    async def _try(self, url: str, event: Event, payload: dict[str, object], number: int) -> bool:
        """Whether Mailgun would try again."""
        loop = asyncio.get_running_loop()
        status, problem = await loop.run_in_executor(self._threads, self._post, url, orjson.dumps(payload))
        token = payload["signature"]["token"]  # type: ignore[index]
        self.tries.append(Try(time.time(), event, token, number, status, problem))
        done = status is not None and 200 <= status < 300
        return not done and status != NEVER_AGAIN and event.name != "delivered"

    def _post(self, url: str, body: bytes) -> tuple[int | None, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "mailgun/simulator"}
        try:
            answer = self._pool.request("POST", url, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            return None, type(error).__name__
        return answer.status, ""
