"""Leases of remote workers: who holds which job since when, and until when."""

from typing import Any

from jobs.models import Job
from jobs.models.states import Status
from jobs.registry import REMOTE_POOL

SHOWN = 20
COLUMNS = ("id", "kind", "status", "worker", "run_at", "started_at", "lease_expires_at", "user__username")


def remote_leases() -> list[Any]:
    """The jobs, longest held first; one more than SHOWN if there are more. Uses job_one_lease_per_remote_worker."""
    held = Job.objects.filter(status=Status.RUNNING, pool=REMOTE_POOL)
    return list(held.select_related("user").order_by("started_at").only(*COLUMNS)[: SHOWN + 1])
