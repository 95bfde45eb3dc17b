"""Clusters, and what their workers are busy with: from what dispatchers report, and the rows of running jobs."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from jobs.cluster.process import WORKER_ROLES
from jobs.models import Cluster, Job
from jobs.models.states import Status

MAX_RUNNING = 300
"""Running jobs that are looked at; I/O workers may run many."""
SHOWN = 4
"""Jobs shown for each worker."""


@dataclass(frozen=True)
class Worker:
    """busy: how many jobs it runs. jobs: some of them."""

    role: str
    pid: int
    memory: int
    busy: int
    jobs: list[Any]

    @property
    def more(self) -> int:
        return max(self.busy - len(self.jobs), 0)


@dataclass(frozen=True)
class ClusterState:
    cluster: Cluster
    workers: list[Worker]
    heartbeat_age: float


def cluster_states(clusters: Iterable[Cluster], running: Iterable[Any]) -> list[ClusterState]:
    """running: jobs, which are shown at their workers."""
    by_worker: dict[str, list[Any]] = defaultdict(list)
    for job in running:
        by_worker[job.worker].append(job)
    now = timezone.now()
    return [ClusterState(row, _workers(row, by_worker), _age(row, now)) for row in clusters]


def running_jobs() -> list[Any]:
    """Longest running first; at most MAX_RUNNING."""
    rows = Job.objects.filter(status=Status.RUNNING).select_related("user").order_by("started_at")
    return list(
        rows.only("id", "kind", "status", "worker", "run_at", "started_at", "progress", "user__username")[:MAX_RUNNING]
    )


def _workers(cluster: Cluster, jobs: dict[str, list[Any]]) -> list[Worker]:
    return [
        Worker(each["role"], each["pid"], each["memory"], each["busy"], jobs[each["name"]][:SHOWN])
        for each in cluster.processes
        if each["role"] in WORKER_ROLES
    ]


def _age(cluster: Cluster, now: datetime) -> float:
    return max((now - cluster.seen_at).total_seconds(), 0.0)
