"""What the dashboard and the checks look at, each read once."""

from functools import cached_property
from typing import Any

from jobs.models import Cluster, Pause
from mail.models import Provider
from monitor.dashboard import database, figures, leases
from monitor.dashboard.brokers import Service, services
from monitor.dashboard.clusters import running_jobs


class Facts:
    """Each fact is read when it is first used, and kept: make a new object for newer ones."""

    @cached_property
    def clusters(self) -> list[Cluster]:
        return list(Cluster.objects.all())

    @cached_property
    def running(self) -> list[Any]:
        """Running jobs, longest first; at most MAX_RUNNING."""
        return running_jobs()

    @cached_property
    def remote_leases(self) -> list[Any]:
        """Running jobs of remote workers, longest held first; at most one more than leases.SHOWN."""
        return leases.remote_leases()

    @cached_property
    def depth(self) -> list[dict[str, Any]]:
        return figures.latest_depth()

    @cached_property
    def pauses(self) -> list[Pause]:
        return list(Pause.objects.all())

    @cached_property
    def providers(self) -> list[Provider]:
        return list(Provider.objects.order_by("name"))

    @cached_property
    def services(self) -> tuple[Service, ...]:
        return services()

    @cached_property
    def snapshots(self) -> list[database.Snapshot]:
        return database.oldest_snapshots()

    @cached_property
    def standbys(self) -> list[database.Standby]:
        return database.standbys()

    @cached_property
    def replicas(self) -> list[database.Replica]:
        return database.replicas()
