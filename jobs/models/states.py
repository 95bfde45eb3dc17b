"""The state machine of a job, whole: the states, and which may follow which. The database enforces the same table."""

from django.db.models import TextChoices


class Status(TextChoices):
    SCHEDULED = "scheduled"  # accepted; its run_at lies ahead
    QUEUED = "queued"  # due: the next free worker takes it
    RUNNING = "running"  # a worker holds a lease on it and renews it while it works
    RETRYING = "retrying"  # an attempt failed and may be repeated; run_at says when
    SUCCEEDED = "succeeded"  # finished, with a result
    FAILED = "failed"  # finished: a permanent error, or no attempts left
    CANCELLED = "cancelled"  # finished: its owner or an operator did not want it any more


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELLED})
UPCOMING = frozenset({Status.SCHEDULED, Status.RETRYING})
REPEATABLE = frozenset({Status.FAILED, Status.CANCELLED})
WAITING = UPCOMING | {Status.QUEUED}

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.SCHEDULED: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELLED}),
    Status.RUNNING: frozenset(
        {Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.RETRYING, Status.QUEUED}  # queued: handed back
    ),
    Status.RETRYING: frozenset({Status.QUEUED, Status.CANCELLED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED}),  # asked for afresh
    Status.CANCELLED: frozenset({Status.QUEUED}),  # asked for afresh
}
