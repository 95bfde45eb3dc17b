"""Clients that read and post without a pause, and count what they are answered."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable

import requests

from tests.support.stack import Client

READERS, WRITERS = 12, 4
PAUSE = 0.05
"""Seconds between two requests of a client."""
JOB = {"kind": "demo.countdown", "params": {"seconds": 0}}


class Load:
    """`with Load(make_client) as load:` posts and reads. accepted: the URLs of all jobs that were answered with 202."""

    def __init__(self, make_client: Callable[[], Client]) -> None:
        self._make_client = make_client
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._reads: Counter[str] = Counter()
        self._posts: Counter[str] = Counter()
        self._threads = [
            *(threading.Thread(target=self._read, daemon=True) for _ in range(READERS)),
            *(threading.Thread(target=self._post, daemon=True) for _ in range(WRITERS)),
        ]
        self.accepted: set[str] = set()

    def __enter__(self) -> "Load":
        self._example = self._make_client().post("jobs/", JOB, expect=202).headers["Location"].split("/")[-2]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        for thread in self._threads:
            thread.join()

    def take_counts(self) -> tuple[Counter[str], Counter[str]]:
        """Answers by status since the last call: of GETs, and of POSTs."""
        with self._lock:
            reads, self._reads = self._reads, Counter()
            posts, self._posts = self._posts, Counter()
        return reads, posts

    def _read(self) -> None:
        client = self._make_client()
        while not self._done.wait(PAUSE):
            self._count(self._reads_now, lambda: client.get(f"jobs/{self._example}/"))

    def _post(self) -> None:
        client = self._make_client()
        while not self._done.wait(PAUSE):
            key = {"Idempotency-Key": str(uuid.uuid4())}
            answer = self._count(self._posts_now, lambda key=key: client.post("jobs/", JOB, headers=key))  # type: ignore[misc]
            if answer is not None and answer.status_code == 202:
                with self._lock:
                    self.accepted.add(answer.headers["Location"])
            elif answer is not None and "Retry-After" in answer.headers:
                time.sleep(min(float(answer.headers["Retry-After"]), 1))

    def _reads_now(self) -> Counter[str]:
        return self._reads

    def _posts_now(self) -> Counter[str]:
        return self._posts

    def _count(
        self, counter: Callable[[], Counter[str]], call: Callable[[], requests.Response]
    ) -> requests.Response | None:
        answer = None
        try:
            answer = call()
            status = str(answer.status_code)
        except requests.RequestException as error:
            status = type(error).__name__
        with self._lock:
            counter()[status] += 1
        return answer
