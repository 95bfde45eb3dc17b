"""A crowd of API users who read much and write now and then, each on a connection and with cookies of its own."""

import random
import threading
import time
from collections import Counter

import requests

READS_A_WRITE = 19
"""95 % of the requests are GETs."""
WHAT_IS_READ = {"job": 12, "jobs": 5, "kinds": 2}
"""How often in READS_A_WRITE reads: one's latest job, the list of jobs, the kinds of job."""
ORDER = {"kind": "demo.countdown", "params": {"seconds": 0}, "run_at": "2100-01-01T00:00:00Z"}


class User(threading.Thread):
    """Writes once in `period` seconds and reads in between, evenly, until told to stop. statuses: what it got."""

    def __init__(self, url: str, token: str, period: float, stop: threading.Event) -> None:
        super().__init__(daemon=True)
        self.root = f"{url}/api/v1/"
        self.period = period
        self.stop = stop
        self.statuses: Counter[int] = Counter()
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Token {token}"
        self.latest = ""

    def run(self) -> None:
        due = time.monotonic() + random.uniform(0, self.period)  # noqa: S311 nothing secret hangs on it
        while not self.stop.wait(max(0.0, due - time.monotonic())):
            for what in ["write", *random.sample(list(Counter(WHAT_IS_READ).elements()), READS_A_WRITE)]:
                if self.stop.wait(max(0.0, due - time.monotonic())):
                    return
                self.ask(what)
                due += self.period / (1 + READS_A_WRITE)

    def ask(self, what: str) -> None:
        if what == "write" or not self.latest:
            answer = self.session.post(f"{self.root}jobs/", json=ORDER, timeout=30)
            self.latest = answer.headers["Location"]
        else:
            path = {"job": self.latest, "jobs": f"{self.root}jobs/", "kinds": f"{self.root}job-kinds/"}[what]
            answer = self.session.get(path, timeout=30)
        self.statuses[answer.status_code] += 1
