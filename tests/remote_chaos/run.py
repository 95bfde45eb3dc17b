"""The course of a run: submit, let the devices work while web and cluster are killed, wait for the end, judge."""

import signal
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from demo.eventually import eventually
from tests.remote_chaos import ledger
from tests.remote_chaos.device import SORTS, Device, Journal
from tests.support.cluster_stack import ClusterStack

BATCH = 500
ENDS_WITHIN = 600.0
"""Seconds."""
CLUSTER_IS_AWAY = 3.0
KILL_CLUSTER_AT = (0.2, 0.6)
RESTART_WEB_AT = 0.4
"""Shares of all jobs that have ended by then."""


@dataclass(frozen=True)
class Size:
    jobs: int = 2000
    workers: int = 50
    owners: int = 5
    seed: int = 1


class Course:
    """stack: running, with the settings of tests/support/remote_kinds and one cluster."""

    def __init__(self, stack: ClusterStack, size: Size) -> None:
        self.stack = stack
        self.size = size
        self.database = stack.env["DATABASE_URL"]
        self.journal = Journal()
        self.over = threading.Event()
        self.owners = [f"owner-{number}" for number in range(size.owners)]
        self.done: Counter[str] = Counter()
        self.seconds = 0.0

    def run(self) -> list[str]:
        """The broken promises."""
        ledger.install(self.database)
        clients = {owner: self.stack.client(owner) for owner in self.owners}
        began = time.monotonic()
        devices = [self._device(number) for number in range(self.size.workers)]
        for device in devices:
            device.start()
        try:
            for owner, client in clients.items():
                self._submit(owner, client)
            self._kill()
            eventually(lambda: self._ended() == self.size.jobs, ENDS_WITHIN, "the end of all jobs", pause=0.5)
        finally:
            self.over.set()
            for device in devices:
                device.join(60)
        self.seconds = time.monotonic() - began
        return self._judge()

    def table(self) -> list[tuple[str, str]]:
        """What happened, row by row."""
        attempts = ledger.rows(self.database, ledger.ATTEMPTS)[0][0]
        counted = {**self.done, **self.journal.counts}
        return [
            ("jobs, of owners", f"{self.size.jobs}, {self.size.owners}"),
            ("workers: reliable, vanishing, late", ", ".join(str(count) for count in self._sorts().values())),
            *[(what, str(count)) for what, count in sorted(counted.items())],
            ("attempts", str(attempts)),
            ("jobs that succeeded exactly once", str(len(self.journal.accepted))),
            ("seconds", f"{self.seconds:.0f}"),
        ]

    def _device(self, number: int) -> Device:
        owner, sort = self.owners[number % len(self.owners)], SORTS[number % len(SORTS)]
        token = self.stack.client(owner).token
        # Each owner's devices have the same names as the others'.
        name = f"device-{number // len(self.owners)}"
        return Device(name, sort, owner, self.stack.url, token, self.journal, self.over, self.size.seed + number)

    def _sorts(self) -> Counter[str]:
        return Counter(SORTS[number % len(SORTS)] for number in range(self.size.workers))

    def _submit(self, owner: str, client: Any) -> None:
        orders = [{"kind": "device.task", "params": {"owner": owner}}] * (self.size.jobs // self.size.owners)
        for start in range(0, len(orders), BATCH):
            answer = client.post("jobs/batch/", {"jobs": orders[start : start + BATCH]}, expect=202).json()
            assert answer["refused"] == 0, answer

    def _kill(self) -> None:
        """Kill the cluster twice, and the web process once in between."""
        [cluster] = self.stack.clusters
        first, second = KILL_CLUSTER_AT
        self._until(first)
        self._kill_cluster(cluster)
        self._until(RESTART_WEB_AT)
        self.stack.web.stop(signal.SIGKILL)
        self.stack.web.start()
        self.done["web process killed and started again"] += 1
        self._until(second)
        self._kill_cluster(cluster)

    def _kill_cluster(self, cluster: Any) -> None:
        cluster.kill()
        time.sleep(CLUSTER_IS_AWAY)
        cluster.start()
        self.done["cluster killed and started again"] += 1

    def _until(self, part: float) -> None:
        wanted = round(self.size.jobs * part)
        eventually(lambda: self._ended() >= wanted, ENDS_WITHIN, f"the end of {wanted} jobs", pause=0.1)

    def _ended(self) -> int:
        return self.size.jobs - int(ledger.rows(self.database, ledger.UNFINISHED)[0][0])

    def _judge(self) -> list[str]:
        problems = list(self.journal.problems)
        for problem, query in ledger.BROKEN.items():
            problems += [f"{row} {problem}" for row in ledger.rows(self.database, query)]
        stored = dict(ledger.rows(self.database, ledger.RESULTS))
        if len(stored) != self.size.jobs:
            problems.append(f"{len(stored)} jobs are stored, and {self.size.jobs} were accepted")
        for job, result in stored.items():
            if self.journal.accepted.get(job) != {result}:
                problems.append(f"{job} has the result {result!r}; reported were {self.journal.accepted.get(job)}")
        return problems
