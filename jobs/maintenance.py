"""Maintenance tasks of the engine besides those in jobs/cluster/maintenance.py."""

import structlog

from jobs.cluster.maintenance import every, hourly
from jobs.django_q import task_results
from jobs.models import Job
from jobs.models.database_cache import CacheEntry
from jobs.models.outputs import Output
from jobs.registry import UnknownKind, find_kind

log = structlog.get_logger(__name__)


@hourly
def orphaned_outputs() -> int:
    """Files of jobs that were deleted, and of attempts that did not succeed."""
    discarded: int = Output.objects.orphaned().discard()
    return discarded


@hourly
def misplaced_jobs() -> int:
    """Waiting jobs that another version stored, where their kind ran in threads and does not here, or the reverse.

    Nobody claims for a pool that no kind has. It runs at the start of a dispatcher, and so after each deployment.
    """
    moved = 0
    for kind, pool in Job.objects.waiting_kinds():
        try:
            expected = find_kind(kind).pool
        except UnknownKind:
            log.warning("jobs_of_unknown_kind", kind=kind)  # they wait for a worker that knows it
            continue
        if pool != expected:
            moved += Job.objects.move_to_pool(kind, expected)
    return moved


@hourly
def expired_cache_entries() -> int:
    return CacheEntry.objects.expired().delete()[0]


@every(minutes=1 / 6)
def superfluous_results() -> int:
    """Successes of plain django-q tasks beyond Q_CLUSTER's save_limit."""
    return task_results.prune()
