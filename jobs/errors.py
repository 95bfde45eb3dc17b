"""What can go wrong with a job. One axis matters to the engine: may it run again, or is it over."""

from uuid import UUID


class JobError(Exception):
    """The base of this app's errors."""


class TransientError(JobError):
    """Raised by a handler whose work may succeed later: retried as its kind says. So is any unexpected exception."""


class RetryAfter(TransientError):
    """As TransientError, but run again after the given number of seconds rather than when the kind's backoff says."""

    def __init__(self, seconds: float, message: str = "") -> None:
        super().__init__(message or f"to be tried again after {seconds:g} s")
        self.seconds = seconds


class WorkerLost(RetryAfter):
    """The attempt ended with its worker, which was killed, died, or has not been heard of: run again at once."""

    def __init__(self, worker: str) -> None:
        super().__init__(0, "its worker was lost")
        self.add_note(f"worker: {worker}")  # shown with the traceback, to operators; clients learn of no machines


class PermanentError(JobError):
    """Raised by a handler whose work can never succeed: the job fails at once, whatever attempts are left."""


class LeaseLost(JobError):
    """The attempt is not held any more: it was given up and perhaps another has begun."""

    def __init__(self, job_id: UUID, attempt: int) -> None:
        super().__init__(f"attempt {attempt} of job {job_id} is not running any more")


class AlreadyFinished(JobError):
    """The job has finished, so that it cannot be cancelled."""

    def __init__(self, job_id: UUID, status: str) -> None:
        super().__init__(f"job {job_id} has finished: it is {status}")


class NotRepeatable(JobError):
    """Only a failed or cancelled job can be run afresh."""

    def __init__(self, job_id: UUID, status: str) -> None:
        super().__init__(f"job {job_id} is {status}; only a failed or cancelled job can be run afresh")


class UniqueKeyTaken(JobError):
    """An unfinished job of this user has the unique_key already."""

    def __init__(self, job_id: UUID) -> None:
        super().__init__(f"job {job_id} has this unique_key and has not finished")
        self.job_id = job_id
