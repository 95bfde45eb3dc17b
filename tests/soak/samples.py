"""What is sampled: each process's memory, and each backend's transaction and snapshot."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psycopg2

from jobs.cluster.process import WORKER_ROLES
from tests.support.cluster_stack import Cluster

BACKENDS = """
    SELECT pid, extract(epoch FROM clock_timestamp() - xact_start)::float, backend_xmin::text, state, query
    FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        AND xact_start IS NOT NULL
"""
IDLE = "idle"
"""The state of a backend that passes notifications on. It does so in a transaction, whose start is shown as that of its
last statement: how long it takes is to be seen only by looking again."""
ROLES = [*WORKER_ROLES, "dispatcher"]
MIB = 1024


@dataclass(frozen=True)
class Memory:
    """MiB at so many seconds after the start. anonymous: without what is mapped from files, which a process shares
    with whatever else runs on the machine."""

    at: float
    pss: float
    anonymous: float


@dataclass
class Samples:
    """processes: by role and process id. Ages are in seconds, with the statement of the oldest."""

    processes: dict[tuple[str, int], list[Memory]] = field(default_factory=dict)
    transactions: int = 0
    oldest_transaction: tuple[float, str] = (0.0, "")
    oldest_snapshot: tuple[float, str] = (0.0, "")
    queue_usage: float = 0.0

    def memory_at(self, process: tuple[str, int], at: float, around: float) -> Memory | None:
        """The median of the samples that are at most so many seconds away."""
        near = [sample for sample in self.processes[process] if abs(sample.at - at) <= around]
        if not near:
            return None
        return Memory(at, median(one.pss for one in near), median(one.anonymous for one in near))


class Sampler:
    def __init__(self, cluster: Cluster, database_url: str) -> None:
        self.samples = Samples()
        self._cluster = cluster
        self._began = time.monotonic()
        self._connection = psycopg2.connect(database_url)
        self._connection.autocommit = True
        self._members: set[int] = set()
        self._known: list[tuple[str, int]] = []
        self._seen_since: dict[tuple[int, str | None], float] = {}
        """Since when each backend has had its snapshot, as far as seen here."""

    def sample_memory(self) -> None:
        now = time.monotonic() - self._began
        for role, pid in self._roles():
            if found := _memory(pid, now):
                self.samples.processes.setdefault((role, pid), []).append(found)

    def sample_backends(self) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(BACKENDS)
            rows = cursor.fetchall()
            cursor.execute("SELECT pg_notification_queue_usage()")
            [usage] = cursor.fetchone()
        samples = self.samples
        samples.queue_usage = max(samples.queue_usage, usage)
        seen = {(pid, xmin): self._seen_since.get((pid, xmin), time.monotonic()) for pid, _, xmin, *_ in rows}
        self._seen_since = seen
        for pid, since_start, xmin, state, query in rows:
            age = time.monotonic() - seen[pid, xmin] if state == IDLE else since_start
            found = age, f"{state}: {' '.join(query.split())[:80]}"
            samples.transactions += 1
            samples.oldest_transaction = max(samples.oldest_transaction, found)
            if xmin is not None:
                samples.oldest_snapshot = max(samples.oldest_snapshot, found)

    def _roles(self) -> list[tuple[str, int]]:
        """Role and process id of each; the log, which says the roles, is read again only if the processes changed."""
        members = set(self._cluster.members())
        if members != self._members:
            children = [(role, pid) for role in ROLES for pid in self._cluster.children(role)]
            self._members, self._known = members, [("supervisor", self._cluster.pid), *children]
        return self._known


def _memory(pid: int, at: float) -> Memory | None:
    """proc(5), /proc/pid/smaps_rollup; None if the process has just ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return None
    sizes = {name: int(size) / MIB for name, size, *_ in (line.split() for line in lines)}
    return Memory(at, sizes["Pss:"], sizes["Pss_Anon:"]) if sizes else None
