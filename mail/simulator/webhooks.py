"""Sends signed webhooks, and retries them as Mailgun does."""

import asyncio
import hashlib
import hmac
import secrets
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

RETRY_PAUSES = [5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 60 * MINUTE, 120 * MINUTE, 240 * MINUTE]
"""Seconds of Mailgun's time between the tries."""
NO_RETRY_STATUS = 406
THREADS = 16
TIMEOUT = 30.0
MAX_KEPT_TRIES = 5000


@dataclass(frozen=True, slots=True)
class Try:
    """`status`: None without an answer; `problem` says why."""

    at: float
    event: Event
    token: str
    number: int
    status: int | None
    problem: str


class Webhooks:
    """`tries`: those that have ended. The threads wait for answers; urllib3 keeps their connections."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._pool = urllib3.PoolManager(maxsize=THREADS, retries=False, timeout=TIMEOUT)
        self._threads = ThreadPoolExecutor(THREADS, "webhook")
        self.tries: deque[Try] = deque(maxlen=MAX_KEPT_TRIES)

    async def send(self, url: str, event: Event, faults: Mapping[str, Fault]) -> dict[str, object] | None:
        """The first try. Returns the payload if it has to be retried."""
        if not url:
            return None
        payload = self._payload(event, faults)
        failed = await self._try(url, event, payload, 1)
        if "doubled" in faults:
            await self._try(url, event, payload, 1)
        return payload if failed else None

    async def retry(self, url: str, event: Event, payload: dict[str, object], time_scale: float) -> None:
        """The further tries, all with the same signature block."""
        for number, pause in enumerate(RETRY_PAUSES, start=2):
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
        """True if Mailgun would retry it. It never retries "delivered"."""
        loop = asyncio.get_running_loop()
        status, problem = await loop.run_in_executor(self._threads, self._post, url, orjson.dumps(payload))
        token = payload["signature"]["token"]  # type: ignore[index]
        self.tries.append(Try(time.time(), event, token, number, status, problem))
        succeeded = status is not None and 200 <= status < 300
        return not succeeded and status != NO_RETRY_STATUS and event.name != "delivered"

    def _post(self, url: str, body: bytes) -> tuple[int | None, str]:
        headers = {"Content-Type": "application/json", "User-Agent": "mailgun/simulator"}
        try:
            answer = self._pool.request("POST", url, body=body, headers=headers, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            return None, type(error).__name__
        return answer.status, ""


def signature_block(key: str) -> dict[str, str]:
    """A new one (Mailgun, "Securing webhooks"), with a token of 50 characters like Mailgun's."""
    timestamp, token = str(int(time.time())), secrets.token_hex(25)
    signature = hmac.new(key.encode(), f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
    return {"timestamp": timestamp, "token": token, "signature": signature}
