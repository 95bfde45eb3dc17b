"""What becomes of the jobs of a process that died, as soon as another one has its place: no lease need expire."""

from jobs.errors import WorkerLost
from jobs.models import Job
from jobs.rescue import rescue
from jobs.worker.interrupt import TimedOut
from jobs.worker.watchdog import Predecessor


def take_over(predecessor: Predecessor) -> None:
    """End the attempts that ended the process or may have; hand back the others without consuming an attempt."""
    rows = Job.objects.running_on(predecessor.name)
    rescue(rows.filter(pk__in=predecessor.timed_out), because=_timed_out)
    rescue(rows.filter(pk__in=predecessor.lost), because=lambda job: WorkerLost(job.worker))
    if innocent := list(rows.without_history()):
        Job.objects.hand_back_many(predecessor.name, innocent)


def _timed_out(job: Job) -> TimedOut:
    return TimedOut(f"the attempt did not stop, with a timeout of {job.timeout} s, and its process was killed")
