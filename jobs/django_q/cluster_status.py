"""Publishes the cluster's status as a django-q Stat, which Stat.get_all(), qinfo, qmonitor and qmemory read."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from django.utils import timezone
from django_q.brokers import Broker
from django_q.conf import Conf
from django_q.signing import SignedPackage
from django_q.status import Stat

EXPIRES = 10
"""Seconds after which the status of a killed cluster disappears."""


@dataclass
class ClusterStatus:
    """The status of one cluster. name: unique among all clusters. reincarnations: number of replaced workers."""

    name: str
    supervisor: int = field(default_factory=os.getppid)
    started_at: datetime = field(default_factory=timezone.now)

    @property
    def id(self) -> UUID:
        return uuid5(NAMESPACE_URL, f"{socket.gethostname()}/{self.name}")

    def stat(self, broker: Broker, workers: Sequence[int], status: str, reincarnations: int = 0) -> Stat:
        """The Stat that django-q's sentinel would make. Its helpers, monitor and pusher, are the dispatcher here."""
        dispatcher, none_queued = SimpleNamespace(pid=os.getpid()), SimpleNamespace(qsize=lambda: 0)
        sentinel: Any = SimpleNamespace(
            parent_pid=self.supervisor,
            pid=self.supervisor,
            cluster_id=self.id,
            broker=broker,
            tob=self.started_at,
            reincarnations=reincarnations,
            status=lambda: status,
            result_queue=none_queued,
            task_queue=none_queued,
            monitor=dispatcher,
            pusher=dispatcher,
            pool=[SimpleNamespace(pid=pid) for pid in workers],
        )
        return Stat(sentinel)

    def publish(self, broker: Broker, workers: Sequence[int], busy: bool, reincarnations: int = 0) -> None:
        stat = self.stat(broker, workers, Conf.WORKING if busy else Conf.IDLE, reincarnations)
        broker.set_stat(stat.key, SignedPackage.dumps(stat, True), EXPIRES)

    def withdraw(self, broker: Broker) -> None:
        """Called when the cluster stops, so that its status does not linger until it expires."""
        stat = self.stat(broker, [], Conf.STOPPED)
        broker.set_stat(stat.key, SignedPackage.dumps(stat, True), 1)
