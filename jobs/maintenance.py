"""The maintenance tasks of the job engine, run by dispatchers (jobs/cluster/maintenance.py)."""

from collections.abc import Iterator
from datetime import timedelta

import structlog
from django.conf import settings
from django.utils import timezone

from jobs.cluster.maintenance import every, hourly
from jobs.django_q import task_results
from jobs.models import Job, Trace
from jobs.models.database_cache import CacheEntry
from jobs.models.outputs import Output
from jobs.models.queryset import JobQuerySet, delete_in_batches, first_id_at
from jobs.registry import UnknownKind, find_kind
from rest.models import IdempotencyKey

log = structlog.get_logger(__name__)

KEY_RETENTION = timedelta(hours=24)
TRACE_GRACE = timedelta(hours=1)
"""A trace is stored before its job."""
NEW = timedelta(minutes=5)
"""Age of a new job: more than the minute between two runs, as clocks may differ."""


@hourly
def prune_finished_jobs() -> Iterator[int]:
    """Delete finished jobs that are older than settings.JOB_RETENTION allows for their status."""
    now = timezone.now()
    for status, kept in settings.JOB_RETENTION.items():
        yield from Job.objects.prune(status, now - kept)


@hourly
def delete_orphaned_outputs() -> int:
    """Delete the files of deleted jobs and of attempts that did not succeed."""
    deleted: int = Output.objects.orphaned().discard()
    return deleted


@hourly
def delete_orphaned_traces() -> int:
    return delete_in_batches(Trace.objects.orphaned(timezone.now() - TRACE_GRACE))


@hourly
def move_misplaced_jobs() -> int:
    """Move waiting jobs to the pool of their kind, if another release stored them with another pool.

    Nobody claims for a pool that no kind has. Runs when a dispatcher starts, and so after each deployment.
    """
    return _move_misplaced(Job.objects.all())


@every(minutes=1)
def move_misplaced_new_jobs() -> int:
    """The same for new jobs: during a deployment, web processes of the other release go on submitting.

    Not for all waiting jobs each minute, because there may be a million.
    """
    return _move_misplaced(Job.objects.filter(pk__gte=first_id_at(timezone.now() - NEW)))


def _move_misplaced(jobs: JobQuerySet) -> int:
    moved = 0
    for kind, pool in jobs.waiting_kinds():
        try:
            expected = find_kind(kind).pool
        except UnknownKind:
            log.warning("jobs_of_unknown_kind", kind=kind)  # they wait for a worker that knows the kind
            continue
        if pool != expected:
            moved += jobs.move_to_pool(kind, expected)
    return moved


@hourly
def prune_idempotency_keys() -> int:
    return delete_in_batches(IdempotencyKey.objects.filter(created_at__lt=timezone.now() - KEY_RETENTION))


@hourly
def delete_expired_cache_entries() -> int:
    return CacheEntry.objects.expired().delete()[0]


@every(minutes=1 / 6)
def prune_task_results() -> int:
    """Delete successful results of plain django-q tasks beyond Q_CLUSTER's save_limit."""
    return task_results.prune()
