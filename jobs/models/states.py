"""The state machine of a job: its states and the allowed transitions. CHECK constraints and triggers enforce it too."""

from django.db.models import TextChoices


class Status(TextChoices):
    SCHEDULED = "scheduled"  # accepted; run_at is in the future
    QUEUED = "queued"  # due: the next free worker claims it
    RUNNING = "running"  # a worker holds a lease on it, and renews the lease while it works
    RETRYING = "retrying"  # an attempt failed; the next one is due at run_at
    SUCCEEDED = "succeeded"  # finished, with a result
    FAILED = "failed"  # finished: a permanent error, or no attempts left
    CANCELLED = "cancelled"  # finished: cancelled by its owner or an operator


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
UPCOMING = frozenset({Status.SCHEDULED, Status.RETRYING})
RESTARTABLE = frozenset({Status.FAILED, Status.CANCELLED})
WAITING = UPCOMING | {Status.QUEUED}

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.SCHEDULED: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.RUNNING: frozenset(
        {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.RETRYING, Status.QUEUED}  # QUEUED: handed back
    ),
    Status.RETRYING: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),  # restarted
    Status.CANCELLED: frozenset({Status.QUEUED}),  # restarted
}
