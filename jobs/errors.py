"""Errors about jobs. What matters to the worker is whether an error is transient (retried) or permanent."""

from uuid import UUID


class JobError(Exception):
    """Base class of this app's errors."""


class TransientError(JobError):
    """Raised by a handler whose work may succeed later: the job is retried, as after any unexpected exception."""


class RetryAfter(TransientError):
    """A TransientError that sets the wait before the next attempt, in place of the kind's backoff."""

    def __init__(self, seconds: float, message: str = "") -> None:
        super().__init__(message or f"retry after {seconds:g} s")
        self.seconds = seconds


class Postponed(RetryAfter):
    """Raised by a handler that has done nothing yet and may not start now: the attempt does not count."""


class WorkerLost(RetryAfter):
    """The attempt's worker was killed, died or stopped sending heartbeats: the job runs again at once."""

    def __init__(self, worker: str) -> None:
        super().__init__(0, "its worker was lost")
        self.add_note(f"worker: {worker}")  # in the traceback, which operators see: clients must not learn host names


class PermanentError(JobError):
    """Raised by a handler whose work can never succeed: the job fails at once, without further attempts."""


class LeaseLost(JobError):
    """The worker no longer holds the lease of this attempt: its lease expired, and another attempt may have begun."""

    def __init__(self, job_id: UUID, attempt: int) -> None:
        super().__init__(f"attempt {attempt} of job {job_id} is no longer running")


class AlreadyFinished(JobError):
    """A finished job cannot be cancelled."""

    def __init__(self, job_id: UUID, status: str) -> None:
        super().__init__(f"job {job_id} has finished: it is {status}")


class NotRestartable(JobError):
    """Only a failed or cancelled job can be restarted."""

    def __init__(self, job_id: UUID, status: str) -> None:
        super().__init__(f"job {job_id} is {status}; only a failed or cancelled job can be restarted")


class UniqueKeyTaken(JobError):
    """Another unfinished job of this user has the same unique_key."""

    def __init__(self, job_id: UUID) -> None:
        super().__init__(f"job {job_id} is unfinished and has the same unique_key")
        self.job_id = job_id
