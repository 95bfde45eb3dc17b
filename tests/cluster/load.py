"""Clients that read and post without a pause, and count what they are answered."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any

import requests

from tests.support.stack import Client

READERS, WRITERS = 12, 4
PAUSE = 0.05
"""Seconds between two requests of a client."""
JOB = {"kind": "demo.countdown", "params": {"seconds": 0}}
MAIL = {"to": "ada@example.org", "subject": "Hello", "text": "This is a load test."}
POSTS = [("jobs/", JOB), ("jobs/", JOB), ("jobs/", JOB), ("mail/messages/", MAIL)]
"""What each writer posts, over and over again."""


@dataclass
class Counts:
    """Requests by status, or by exception if there was no answer. no_answer_at: when there was none."""

    reads: Counter[str] = field(default_factory=Counter)
    posts: Counter[str] = field(default_factory=Counter)
    no_answer_at: list[float] = field(default_factory=list)

    @property
    def no_answer_for(self) -> float:
        """Seconds between the first and the last request without an answer."""
        return max(self.no_answer_at, default=0) - min(self.no_answer_at, default=0)


class Load:
    """`with Load(make_client) as load:` posts and reads. accepted: the URLs of all that was answered with 202.

    A POST without an answer is repeated with its Idempotency-Key.
    """

    def __init__(self, make_client: Callable[[], Client]) -> None:
        self._make_client = make_client
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._counts = Counts()
        self._threads = [
            *(threading.Thread(target=self._read, daemon=True) for _ in range(READERS)),
            *(threading.Thread(target=self._post, daemon=True) for _ in range(WRITERS)),
        ]
        self.accepted: set[str] = set()

    def __enter__(self) -> "Load":
        self._example = self._make_client().post("jobs/", JOB, expect=202).headers["Location"]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def take_counts(self) -> Counts:
        """The counts since the last call."""
        with self._lock:
            counts, self._counts = self._counts, Counts()
        return counts

    def _read(self) -> None:
        client = self._make_client()
        while not self._done.wait(PAUSE):
            self._request(client, "GET", self._example)

    def _post(self) -> None:
        client = self._make_client()
        for path, body in cycle(POSTS):
            key = {"Idempotency-Key": str(uuid.uuid4())}
            answer = None
            while answer is None:
                if self._done.wait(PAUSE):
                    return
                answer = self._request(client, "POST", path, json=body, headers=key)
            if answer.status_code == 202:
                with self._lock:
                    self.accepted.add(answer.headers["Location"])
            elif "Retry-After" in answer.headers:
                time.sleep(min(float(answer.headers["Retry-After"]), 1))

    def _request(self, client: Client, method: str, path: str, **options: Any) -> requests.Response | None:
        """The answer, or None if there was none."""
        answer = None
        try:
            answer = client.request(method, path, **options)
            status = str(answer.status_code)
        except requests.RequestException as error:
            status = type(error).__name__
        with self._lock:
            (self._counts.reads if method == "GET" else self._counts.posts)[status] += 1
            if answer is None:
                self._counts.no_answer_at.append(time.monotonic())
        return answer
