"""docs/job-lifecycle.md, from the table of transitions in jobs/models/states.py and the verbs of the Job model."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jobs.models import Job
from jobs.models.queryset import JobQuerySet
from jobs.models.queue.due import STARVED_AFTER
from jobs.models.queue.leases import LEASE
from jobs.models.states import TERMINAL, TRANSITIONS, Status
from jobs.worker.heartbeat import RENEW_EVERY
from jobs.worker.watchdog import STUCK_AFTER
from tests.generated_pages import comments, row, span, table

HEAD = """# The life of a job

Written by `python -m tests.generated_pages` from `jobs/models/states.py` and `jobs/models/job.py`. Do not edit it:
change the code, or the texts in `tests/generated_pages/job_lifecycle.py`, and write it again.

A job is one row of `jobs_job`. Each transition is a conditional UPDATE by one method, whose count is checked; a
trigger in the database refuses every transition that is not in this picture.

"""


class Step(NamedTuple):
    """verb: the method that makes the transition. when: its condition. who: the process that calls it."""

    verb: Callable[..., Any]
    when: str
    who: str


RESCUERS = "if that is lost, the process that replaces it, or a dispatcher"
IS_DUE = Step(JobQuerySet.queue_due, "its `run_at` has come", "workers before they claim; dispatchers")
IS_CANCELLED = Step(Job.cancel, "it is cancelled while it waits", "the web process, the admin")
IS_RESTARTED = Step(Job.restart, "somebody asks for it: `POST jobs/{id}/retries/`", "the web process, the admin")

STEPS: Mapping[tuple[Status, Status], Step] = {
    (Status.SCHEDULED, Status.QUEUED): IS_DUE,
    (Status.SCHEDULED, Status.CANCELLED): IS_CANCELLED,
    (Status.QUEUED, Status.RUNNING): Step(JobQuerySet.claim, "a worker is free", "a worker"),
    (Status.QUEUED, Status.CANCELLED): IS_CANCELLED,
    (Status.RUNNING, Status.SUCCEEDED): Step(Job.succeed, "the handler returns", "its worker"),
    (Status.RUNNING, Status.FAILED): Step(
        Job.fail, "a permanent error, or no attempts are left", f"its worker; {RESCUERS}"
    ),
    (Status.RUNNING, Status.CANCELLED): Step(Job.finish_cancelled, "it is cancelled while it runs", "its worker"),
    (Status.RUNNING, Status.RETRYING): Step(
        Job.retry, "a transient error, a timeout or a lost worker", f"its worker; {RESCUERS}"
    ),
    (Status.RUNNING, Status.QUEUED): Step(
        Job.hand_back, "its worker has to stop, or never started it: the attempt does not count", "its worker"
    ),
    (Status.RETRYING, Status.QUEUED): IS_DUE,
    (Status.RETRYING, Status.CANCELLED): IS_CANCELLED,
    (Status.FAILED, Status.QUEUED): IS_RESTARTED,
    (Status.CANCELLED, Status.QUEUED): IS_RESTARTED,
}

CONSTRAINTS = {
    "job_finished_at_iff_terminal": "`finished_at` is set exactly in the terminal states",
    "job_lease_iff_running": "`lease_expires_at` is set exactly while the job runs, and then so is `started_at`",
    "job_status_known": "`status` is one of the states above",
    "job_timeout_positive": "`timeout` is greater than 0",
    "job_unique_key_while_unfinished": "a user has at most one unfinished job with the same `unique_key`",
    "job_unique_key_of_nobody_while_unfinished": "the same for jobs that belong to no user",
    "job_one_lease_per_remote_worker": "a remote worker of a user holds at most one lease",
}

ENDS = (
    ("the handler returns a value", "`succeeded`", "yes", ""),
    ("it raises `PermanentError`, or its params are not valid any more", "`failed`", "yes", ""),
    ("it raises `RetryAfter(seconds)`", "`retrying`, or `failed` after the last attempt", "yes", "after these seconds"),
    ("it raises `Postponed(seconds)`", "`retrying`", "no: `max_attempts` grows by one", "after these seconds"),
    ("it raises anything else", "`retrying`, or `failed` after the last attempt", "yes", "after the kind's backoff"),
    ("its `timeout` passes", "the same", "yes", "after the kind's backoff"),
    ("its worker is killed or lost", "the same", "yes", "at once, with its old place in the queue"),
    ("its worker gets SIGTERM and the grace period ends", "`queued`", "no", "at once"),
    ("it is cancelled", "`cancelled`", "yes", ""),
)


def page() -> str:
    """The whole page."""
    return HEAD + _picture() + _states() + _transitions() + _ends() + _leases() + _constraints()


def _picture() -> str:
    edges = [(old, new) for old, following in TRANSITIONS.items() for new in Status if new in following]
    lines = [f"    {old} --> {new}: {_name(STEPS[old, new].verb)}\n" for old, new in edges]
    ends = [f"    {status} --> [*]\n" for status in Status if status in TERMINAL]
    begins = f"    [*] --> {Status.SCHEDULED}: run_at lies ahead\n    [*] --> {Status.QUEUED}\n"
    return f"```mermaid\nstateDiagram-v2\n{begins}{''.join(lines)}{''.join(ends)}```\n"


def _states() -> str:
    texts = comments(Status)
    rows = [row(f"`{status}`", texts[status], "yes" if status in TERMINAL else "") for status in Status]
    return "\n## States\n\n" + table("state", "meaning", "terminal") + "".join(rows)


def _transitions() -> str:
    rows = [
        row(f"`{old}`", f"`{new}`", f"`{_name(STEPS[old, new].verb)}`", STEPS[old, new].when, STEPS[old, new].who)
        for old, following in TRANSITIONS.items()
        for new in Status
        if new in following
    ]
    where = "The verbs are methods of `Job` and of its QuerySet.\n\n"
    return "\n## Transitions\n\n" + where + table("from", "to", "verb", "when", "who") + "".join(rows)


def _ends() -> str:
    head = table("what happens", "the job becomes", "the attempt counts", "the next attempt")
    return "\n## How an attempt ends\n\n" + head + "".join(row(*cells) for cells in ENDS)


def _leases() -> str:
    return f"""
## Times

- A claim is a lease of {span(LEASE)}. The worker's heartbeat renews it every {span(RENEW_EVERY)} and learns \
of cancellations
  in the same statement.
- A worker is the only writer of its attempt: each write matches the attempt number and the worker's name. A run
  that was given up can never overwrite the one that replaced it.
- A handler that ignores its interruption for {span(STUCK_AFTER)} is killed with its process.
- After SIGTERM, running jobs have `WORKER_GRACE` seconds.
- Higher priorities are claimed first, and of equal ones the oldest. Of a busy worker's claims every eighth takes the
  job that has waited longest, if that is more than {span(STARVED_AFTER)}.

Why: decisions [0001](decisions/0001-the-job-row-is-the-queue.md), [0006](decisions/0006-leases-and-heartbeats.md) and
[0007](decisions/0007-lost-attempts-and-retries.md).
"""


def _constraints() -> str:
    names = [constraint.name for constraint in Job._meta.constraints]
    rows = [row(f"`{name}`", CONSTRAINTS[name]) for name in names]
    trigger = row("`jobs_job_transition` (trigger)", "no transition happens that is not in the table above")
    return "\n## What the database enforces\n\n" + table("name", "rule") + "".join(rows) + trigger


def _name(verb: Callable[..., Any]) -> str:
    return verb.__name__
