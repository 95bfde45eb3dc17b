"""What becomes of the jobs of a process that died, as soon as another one has its place: no lease need expire."""

from collections.abc import Callable

import structlog
from django.db import transaction

from jobs.errors import WorkerLost
from jobs.models import Job
from jobs.outcome import conclude_failure
from jobs.worker.interrupt import TimedOut
from jobs.worker.watchdog import Jobs, Predecessor

log = structlog.get_logger(__name__)


def take_over(predecessor: Predecessor) -> None:
    """End the attempts that ended the process or may have; hand back the others without consuming an attempt."""
    _end(predecessor.name, predecessor.timed_out, _timed_out)
    _end(predecessor.name, predecessor.lost, lambda job: WorkerLost(job.worker))
    innocent = list(Job.objects.running_on(predecessor.name))
    if innocent:
        Job.objects.hand_back_many(predecessor.name, innocent)


def _end(worker: str, ids: Jobs, error: Callable[[Job], BaseException]) -> None:
    with transaction.atomic():
        for job in Job.objects.running_on(worker).filter(pk__in=ids).select_for_update(skip_locked=True):
            log.warning("job_rescued", job_id=str(job.pk), attempt=job.attempt, worker=job.worker)
            conclude_failure(job, error(job))


def _timed_out(job: Job) -> TimedOut:
    return TimedOut(f"the attempt did not stop, with a timeout of {job.timeout} s, and its process was killed")
