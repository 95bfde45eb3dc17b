"""What becomes of the jobs of a process that died, as soon as another one has its place: no lease need expire."""

from django.db import transaction

from jobs.errors import WorkerLost
from jobs.models import Job
from jobs.worker.interrupt import TimedOut
from jobs.worker.rescue import rescue
from jobs.worker.watchdog import Predecessor


def take_over(predecessor: Predecessor) -> None:
    """End the attempts that ended the process or may have; hand back the others without consuming an attempt.

    A row that somebody else has locked is not waited for: its lease expires.
    """
    rows, culprits = Job.objects.running_on(predecessor.name), predecessor.timed_out | predecessor.lost
    rescue(rows.filter(pk__in=predecessor.timed_out), because=_timed_out)
    rescue(rows.filter(pk__in=predecessor.lost), because=lambda job: WorkerLost(job.worker))
    with transaction.atomic():
        others = rows.exclude(pk__in=culprits).select_for_update(skip_locked=True)
        if innocent := list(others.without_history()):
            Job.objects.hand_back_many(predecessor.name, innocent)


def _timed_out(job: Job) -> TimedOut:
    return TimedOut(f"the attempt did not stop, with a timeout of {job.timeout} s, and its process was killed")
