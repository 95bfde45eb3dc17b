"""What a dispatcher writes about its cluster for the task monitor: processes, memory, heartbeat (models/cluster.py)."""

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db.models.functions import Now
from django.utils import timezone
from django_q.conf import Conf

from jobs.cluster.process import CLUSTER_ID, Process
from jobs.models import Cluster
from jobs.models.queue.clock import database_now

REPORT_EVERY = 1.0
"""Seconds."""
PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class ClusterReport:
    """The report of one cluster. workers: its worker processes."""

    workers: Sequence[Process] = ()
    started_at: datetime = field(default_factory=timezone.now)
    _due_at: float = 0.0

    @property
    def name(self) -> str:
        return cluster_name()

    def write(self) -> None:
        """At most every REPORT_EVERY seconds."""
        if time.monotonic() < self._due_at:
            return
        self._due_at = time.monotonic() + REPORT_EVERY
        Cluster.objects.update_or_create(
            name=self.name,
            defaults={
                "host": socket.gethostname()[:60],
                "release": settings.RELEASE,
                "queue": "" if Conf.CLUSTER_NAME == Conf.PREFIX else Conf.CLUSTER_NAME,
                "broker": settings.BROKER["class"].rpartition(".")[2].lower(),
                "started_at": self.started_at,
                "seen_at": Now(),
                "replacements": sum(worker.replacements for worker in self.workers),
                "clock_skew": (datetime.now(UTC) - database_now()).total_seconds(),
                "processes": [
                    self._process("supervisor", os.getppid(), 0),
                    *map(self._worker, self.workers),
                    self._process("dispatcher", os.getpid(), 0),
                ],
            },
        )

    def withdraw(self) -> None:
        """Called when the cluster stops."""
        Cluster.objects.filter(name=self.name).delete()

    def _worker(self, worker: Process) -> dict[str, Any]:
        return self._process(worker.role, worker.pid, len(worker.watchdog.started()))

    def _process(self, role: str, pid: int, busy: int) -> dict[str, Any]:
        return {"name": f"{self.name}:{pid}", "role": role, "pid": pid, "memory": resident_bytes(pid), "busy": busy}


def cluster_name() -> str:
    """The name of this process's cluster; the names of its workers begin with it."""
    return f"{socket.gethostname()[:60]}/{CLUSTER_ID}"


def resident_bytes(pid: int) -> int:
    """Memory of a process, shared pages included; 0 if it has ended."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * PAGE
    except (OSError, IndexError, ValueError):
        return 0
