"""What the clusters' logs say about workers that stalled and were replaced, and about those that died."""

import signal
import time
from collections.abc import Collection
from datetime import datetime

from jobs.models.queue.leases import LEASE
from tests.chaos import uptime
from tests.chaos.maintenance import chaos_task
from tests.support.cluster_stack import Cluster, Event


class Stalls:
    """ended: the name of each cluster that was stopped or killed, and when (seconds since 1970)."""

    def __init__(self, clusters: Collection[Cluster], ended: Collection[tuple[str, float]]) -> None:
        self._ended = ended
        self._killed = [
            (cluster.name, event) for cluster in clusters for event in cluster.events("child_stuck_and_killed")
        ]
        self._died = [event for cluster in clusters for event in cluster.events("child_died")]
        self._task_failures = failures_of_task(clusters)

    @property
    def replaced(self) -> set[str]:
        """The names of the workers whose jobs their successor took over: their cluster lived on."""
        return {event["child"] for cluster, event in self._killed if not self._ended_soon(cluster, _at(event))}

    def unexpected_deaths(self) -> list[str]:
        return [
            f"A {event['role']} died by itself, with {event['exitcode']}: {event['child']}."
            for event in self._died
            if event["exitcode"] != -signal.SIGKILL
        ]

    def counts(self) -> dict[str, int]:
        """Rows of the table."""
        reasons = [event["reason"] for _, event in self._killed]
        return {
            "replaced by its cluster because a job ignored its deadline": reasons.count("overdue"),
            "replaced by its cluster because no Python code ran": reasons.count("stalled"),
            "failures of the maintenance task": self._task_failures,
        }

    def _ended_soon(self, cluster: str, at: float) -> bool:
        return any(name == cluster and at <= ended < at + LEASE.total_seconds() for name, ended in self._ended)


def times_up(
    clusters: Collection[Cluster],
    ended: Collection[tuple[str, float]],
    freezes: Collection[tuple[str, float, float]],
) -> list[uptime.Interval]:
    """The times in which at least one of the clusters was up."""
    return uptime.union(
        interval
        for cluster in clusters
        for interval in uptime.of_cluster(
            [_at(event) for event in cluster.events("cluster_started")],
            [at for name, at in ended if name == cluster.name],
            [(since, until) for name, since, until in freezes if name == cluster.name],
            time.time(),
        )
    )


def failures_of_task(clusters: Collection[Cluster]) -> int:
    """How often tests.chaos.maintenance has failed."""
    return sum(len(cluster.events("maintenance_task_failed", task=chaos_task.__name__)) for cluster in clusters)


def _at(event: Event) -> float:
    return datetime.fromisoformat(event["timestamp"]).timestamp()
