"""A device that leases its owner's jobs over HTTP: reliable, or one that vanishes now and then, or reports late."""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.remote_kinds.kinds import LEASE

RELIABLE, VANISHES, LATE = "reliable", "vanishes", "reports late"
SORTS = (RELIABLE, VANISHES, LATE)
OFTEN = 0.3
"""The probability with which a device does what its sort is named after."""
WORK = 0.3
"""Seconds that a job takes at most."""
OFFLINE = 0.5
"""Seconds until an unanswered request is sent again."""
IDLE = 0.2

Lease = dict[str, Any]


@dataclass
class Journal:
    """What all devices have seen. accepted: by job, the results whose report was answered with 200."""

    counts: Counter[str] = field(default_factory=Counter)
    accepted: dict[str, set[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    urls: dict[str, list[str]] = field(default_factory=dict)
    """URLs of the latest leases, by owner; other owners must not see them."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, what: str) -> None:
        with self.lock:
            self.counts[what] += 1

    def blame(self, problem: str) -> None:
        with self.lock:
            self.problems.append(problem)

    def note_lease(self, owner: str, url: str) -> None:
        with self.lock:
            self.urls[owner] = [*self.urls.get(owner, [])[-20:], url]

    def foreign_url(self, owner: str, dice: random.Random) -> str | None:
        with self.lock:
            urls = [url for other, found in self.urls.items() if other != owner for url in found]
        return dice.choice(urls) if urls else None

    def note_success(self, job_id: str, result: str) -> None:
        with self.lock:
            self.accepted.setdefault(job_id, set()).add(result)


class Device(threading.Thread):
    """owner: the name in the params of its owner's jobs. over: set when all jobs have ended."""

    def __init__(
        self, name: str, sort: str, owner: str, url: str, token: str, journal: Journal, over: threading.Event, seed: int
    ) -> None:
        super().__init__(name=name, daemon=True)
        self.sort = sort
        self.owner = owner
        self.journal = journal
        self.over = over
        self.dice = random.Random(f"{seed} {name}")
        headers = {"Authorization": f"Token {token}"}
        self.http = httpx.Client(base_url=f"{url}/api/v1/", headers=headers, timeout=30)

    def run(self) -> None:
        with self.http:
            while not self.over.is_set():
                lease = self._lease()
                if lease is None:
                    self.over.wait(IDLE * self.dice.random())
                    continue
                self._check(lease)
                if self.sort == VANISHES and self.dice.random() < OFTEN:
                    self._vanish()
                elif self.sort == LATE and self.dice.random() < OFTEN:
                    self._report_late(lease)
                else:
                    self._work(lease)

    def _lease(self) -> Lease | None:
        answer = self._send("POST", "leases/", {"worker": self.name, "kinds": ["device.task"]}, {"Prefer": "wait=2"})
        if answer is None or answer.status_code == 204:
            return None
        if answer.status_code == 409:  # of a lease whose answer was lost with the web process, or that it left
            self.journal.count("told that they hold a lease")
            return None
        if answer.status_code != 201:
            self.journal.blame(f"{self.name} asked for a lease and was answered {answer.status_code}: {answer.text}")
            return None
        self.journal.count("leases")
        lease: Lease = answer.json()
        return lease

    def _check(self, lease: Lease) -> None:
        """The job belongs to the device's owner, and a lease of another owner is answered with 404."""
        if lease["job"]["params"]["owner"] != self.owner:
            self.journal.blame(f"{self.name} of {self.owner} was given {lease['job']}")
        self.journal.note_lease(self.owner, lease["url"])
        if self.dice.random() < OFTEN and (url := self.journal.foreign_url(self.owner, self.dice)):
            answer = self._send(self.dice.choice(["GET", "PATCH"]), url, None)
            if answer is not None and answer.status_code != 404:
                self.journal.blame(f"{self.name} of {self.owner} asked for {url} and was answered {answer.status_code}")
            self.journal.count("asked for another's lease")

    def _work(self, lease: Lease) -> None:
        time.sleep(WORK * self.dice.random())
        if self.dice.random() < OFTEN:
            self._send("PATCH", lease["url"], {"progress": {"percent": 50}})
        self._succeed(lease)

    def _vanish(self) -> None:
        """Leave without a report; it comes back under the same name, sometimes before its lease has expired."""
        self.journal.count("vanished")
        self.over.wait(2 * LEASE * self.dice.random())

    def _report_late(self, lease: Lease) -> None:
        self.journal.count("reported late")
        time.sleep(LEASE + self.dice.random())
        answer = self._succeed(lease)
        if answer is not None and answer.status_code != 410:
            self.journal.blame(f"{self.name} reported {lease['id']} late and was answered {answer.status_code}")

    def _succeed(self, lease: Lease) -> httpx.Response | None:
        result = f"{lease['id']} by {self.name}"
        answer = self._send("POST", f"{lease['url']}success/", {"result": result})
        if answer is not None and answer.status_code == 200:
            self.journal.note_success(lease["job"]["id"], result)
        elif answer is not None:
            self.journal.count(f"reports answered {answer.status_code}")
        return answer

    def _send(
        self, method: str, url: str, body: object, headers: dict[str, str] | None = None
    ) -> httpx.Response | None:
        """Send a request, again and again while the web process is away. None once all jobs have ended."""
        while not self.over.is_set():
            try:
                answer = self.http.request(method, url, json=body, headers=headers)
                if answer.status_code < 500:
                    return answer
                self.journal.count(f"answered {answer.status_code}")
            except httpx.TransportError:
                self.journal.count("requests without an answer")
            time.sleep(OFFLINE)
        return None
