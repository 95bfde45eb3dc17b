"""The faults of clusters and their database: one method for each, which returns False if there was nothing to hit."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from jobs.cluster.stall import STALLED_AFTER
from jobs.models.queue.leases import LEASE
from tests.chaos.clock import CLOCKS
from tests.chaos.kinds import gil_holder, transaction_of_seconds
from tests.chaos.maintenance import FLAG, WAYS_TO_FAIL
from tests.chaos.skewed_cluster import SkewedCluster
from tests.chaos.stalls import failures_of_task
from tests.support.cluster_stack import kill, tell

FREEZES = (2.0, 5.0, STALLED_AFTER + 3)
"""Seconds for which one worker is frozen; its cluster kills it in the last case."""
CLUSTER_FREEZES = (LEASE.total_seconds() + 1, LEASE.total_seconds() + 4)
"""Seconds for which a whole cluster is frozen: at least and at most. Others rescue its jobs meanwhile."""
TASK_FAILS_FOR = (5.0, 15.0)
"""Seconds for which a maintenance task fails: at least and at most."""
MORE = 2.0
"""Seconds by which the failing is prolonged, as often as no dispatcher has run the task meanwhile."""
TRANSACTIONS = 3
CUT_IN_ALL = "  connections that were cut in all"
KILLED_FROZEN = "  of these killed for it, or stopped with their cluster"

BACKENDS = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> ALL(%s)"
CUT = "SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid"

Order = tuple[str, dict[str, Any]]
"""A kind and its params."""


@dataclass(frozen=True)
class Killing:
    """at: seconds since 1970. processes: the killed process and those that die with it."""

    role: str
    at: float
    processes: tuple[int, ...]


class Blows:
    """The faults that the monkey chooses from. submit: takes a job. spared: the ids of backends that are not cut."""

    def __init__(
        self,
        clusters: list[SkewedCluster],
        database_url: str,
        folder: Path,
        dice: random.Random,
        submit: Callable[[Order], object],
        spared: Callable[[], list[int]],
    ) -> None:
        self.clusters = clusters
        self.database_url = database_url
        self.flag = folder / FLAG
        self.dice = dice
        self.submit = submit
        self.spared = spared
        self.killings: list[Killing] = []
        self.stopping: dict[SkewedCluster, float] = {}
        self.ended: list[tuple[str, float]] = []
        """Of each cluster that was killed or stopped: its name, and when (seconds since 1970)."""
        self.freezes: list[tuple[str, float, float]] = []
        """Of each cluster that was frozen: its name, from when, until when (seconds since 1970)."""
        self.frozen: set[int] = set()
        """The process ids of all that were ever frozen."""
        self.counts: Counter[str] = Counter()
        """What happened besides the actions themselves."""
        self._frozen_clusters: set[SkewedCluster] = set()
        self._later: list[tuple[float, Callable[[], None]]] = []

    def look(self) -> None:
        """End the faults whose time is over."""
        due = [end for at, end in self._later if at <= time.monotonic()]
        self._later = [(at, end) for at, end in self._later if at > time.monotonic()]
        for end in due:
            end()

    def end_all(self) -> None:
        """End all faults that still last."""
        later, self._later = self._later, []
        for _, end in later:
            end()

    def worker(self) -> bool:
        return self._kill_child("worker")

    def io_worker(self) -> bool:
        return self._kill_child("io-worker")

    def dispatcher(self) -> bool:
        return self._kill_child("dispatcher")

    def supervisor(self) -> bool:
        cluster = self.dice.choice(self.clusters)
        if not cluster.running():
            return False
        self._kill("supervisor", cluster.pid, cluster.members())
        self.ended.append((cluster.name, time.time()))
        self.stopping.pop(cluster, None)
        return True

    def stop(self) -> bool:
        return self._stop(self.dice.choice(self.clusters))

    def clock(self) -> bool:
        """The cluster comes back with another clock."""
        cluster = self.dice.choice(self.clusters)
        if not self._stop(cluster):
            return False
        cluster.set_clock(self.dice.choice([clock for clock in CLOCKS if clock != cluster.clock]))
        return True

    def cut_some(self) -> bool:
        return self._cut(0.5)

    def cut_all(self) -> bool:
        return self._cut(1)

    def freeze(self) -> bool:
        """Freeze a worker of any sort. If its cluster kills it, it counts as killed when it was frozen."""
        cluster = self.dice.choice(self.clusters)
        workers = cluster.workers()
        if not workers or cluster in self._frozen_clusters:
            return False
        worker, began = self.dice.choice(workers), time.time()
        self._signal([worker], signal.SIGSTOP)
        self.frozen.add(worker)

        def thaw() -> None:
            if worker in cluster.members():
                self._signal([worker], signal.SIGCONT)
            elif not any(worker in killing.processes for killing in self.killings):
                self.killings.append(Killing("frozen worker", began, (worker,)))
                self.counts[KILLED_FROZEN] += 1

        self._do_later(self.dice.choice(FREEZES), thaw)
        return True

    def freeze_cluster(self) -> bool:
        """For longer than a lease, and one cluster at a time: the other one has to run its jobs as if it were dead."""
        cluster = self.dice.choice(self.clusters)
        up = cluster.running() and cluster not in self.stopping and cluster.children("dispatcher")
        if not up or self._frozen_clusters:
            return False
        members, began = cluster.members(), time.time()
        self._signal(members, signal.SIGSTOP)
        self.frozen.update(members)
        self._frozen_clusters.add(cluster)
        self.killings.append(Killing("cluster by a freeze", began, tuple(members)))

        def thaw() -> None:
            self._signal(cluster.members(), signal.SIGCONT)
            self._frozen_clusters.discard(cluster)
            self.freezes.append((cluster.name, began, time.time()))

        self._do_later(self.dice.uniform(*CLUSTER_FREEZES), thaw)
        return True

    def maintenance(self) -> bool:
        if self.flag.exists():
            return False
        self.flag.write_text(self.dice.choice(list(WAYS_TO_FAIL)))
        before = failures_of_task(self.clusters)

        def repair() -> None:
            if failures_of_task(self.clusters) == before:  # no dispatcher lived long enough
                self._do_later(MORE, repair)
            else:
                self.flag.unlink()

        self._do_later(self.dice.uniform(*TASK_FAILS_FOR), repair)
        return True

    def gil(self) -> bool:
        return bool(self.submit(gil_holder(self.dice)))

    def transactions(self) -> bool:
        return all(self.submit(transaction_of_seconds(self.dice)) for _ in range(TRANSACTIONS))

    def _do_later(self, seconds: float, end: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, end))

    def _stop(self, cluster: SkewedCluster) -> bool:
        if cluster in self.stopping or cluster in self._frozen_clusters or not cluster.running():
            return False
        cluster.send(signal.SIGTERM)
        self.stopping[cluster] = time.monotonic()
        self.ended.append((cluster.name, time.time()))
        return True

    def _kill_child(self, role: str) -> bool:
        cluster = self.dice.choice(self.clusters)
        candidates = cluster.children(role)
        if not candidates or not cluster.running():
            return False
        chosen = self.dice.choice(candidates)
        return self._kill(role, chosen, [chosen])

    def _kill(self, role: str, process: int, doomed: list[int]) -> bool:
        killing = Killing(role, time.time(), tuple(doomed))
        with suppress(ProcessLookupError):  # it has just ended by itself
            kill(process)
            self.killings.append(killing)
            return True
        return False

    def _cut(self, share: float) -> bool:
        """Cut this share of the clusters' connections."""
        try:
            with closing(psycopg2.connect(self.database_url)) as connection, connection, connection.cursor() as cursor:
                cursor.execute(BACKENDS, [[*self.spared(), connection.info.backend_pid]])
                backends = sorted(pid for [pid] in cursor.fetchall())
                chosen = self.dice.sample(backends, round(share * len(backends)))
                cursor.execute(CUT, [chosen])
        except psycopg2.Error:
            return False
        self.counts[CUT_IN_ALL] += len(chosen)
        return bool(chosen)

    def _signal(self, processes: list[int], number: signal.Signals) -> None:
        for process in processes:
            with suppress(ProcessLookupError):
                tell(process, number)
