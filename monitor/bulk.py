"""Operators' actions on jobs: on one, at once; on a selection or all that a filter matches, by a bulk job."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import transaction

from jobs.cancellation import cancel
from jobs.errors import AlreadyFinished
from jobs.models import Job
from jobs.models.ids import new_id
from jobs.models.queryset import BATCH, JobQuerySet
from jobs.priorities import OWN_PRIORITY
from jobs.registry import kinds
from jobs.submit import submit
from monitor.job_filter import JobFilter

KIND = "monitor.bulk_action"
PRIORITY = OWN_PRIORITY
"""The priority of bulk jobs: an operator waits for them."""
PRIORITIES = (-1000, 1000)
"""The lowest and the highest priority that an operator may set."""


@dataclass(frozen=True)
class Action:
    """verb: changes some jobs and returns their ids. statuses: of the jobs that it changes. allowed: these in words.

    done: what became of a job, for its history.
    """

    name: str
    title: str
    done: str
    icon: str
    verb: Callable[[JobQuerySet, int], list[UUID]]
    allowed: str
    statuses: frozenset[str]
    takes_value: bool = False
    dangerous: bool = False


def _cancel(rows: JobQuerySet, value: int) -> list[UUID]:
    """Jobs of a kind with an on_cancel hook one by one, because the hook is called for each."""
    hooked = [kind.name for kind in kinds() if kind.on_cancel]
    cancelled = rows.exclude(kind__in=hooked).cancel_many()
    for job in rows.filter(kind__in=hooked, cancel_requested=False).unfinished().without_history():
        with suppress(AlreadyFinished):
            cancel(job)
            cancelled.append(job.pk)
    return cancelled


ENDED = frozenset({"succeeded", "failed", "cancelled"})
ACTIONS = {
    action.name: action
    for action in (
        Action(
            "retry",
            "Retry",
            "retried",
            "replay",
            lambda rows, value: rows.restart_many(),
            "failed and cancelled jobs",
            frozenset({"failed", "cancelled"}),
        ),
        Action(
            "cancel",
            "Cancel",
            "cancelled",
            "cancel",
            _cancel,
            "jobs that have not finished",
            frozenset({"scheduled", "queued", "running", "retrying"}),
            dangerous=True,
        ),
        Action(
            "run_now",
            "Run now",
            "queued to run now",
            "play_arrow",
            lambda rows, value: rows.run_now(),
            "scheduled and retrying jobs",
            frozenset({"scheduled", "retrying"}),
        ),
        Action(
            "priority",
            "Set priority",
            "given the priority",
            "low_priority",
            lambda rows, value: rows.set_priority(value),
            "waiting jobs",
            frozenset({"scheduled", "queued", "retrying"}),
            takes_value=True,
        ),
        Action(
            "delete",
            "Delete",
            "deleted",
            "delete",
            lambda rows, value: rows.delete_finished(),
            "finished jobs",
            ENDED,
            dangerous=True,
        ),
    )
}


@dataclass(frozen=True)
class Order:
    """An action on chosen jobs. ids: a selection; if empty, all that the filter matches. value: the new priority.

    expected: how many were counted for the confirmation. until: jobs that are submitted later are left alone.
    """

    action: str
    filter: JobFilter
    ids: tuple[str, ...] = ()
    value: int = 0
    expected: int = 0
    until: str = ""

    def as_params(self) -> dict[str, Any]:
        return {
            "action": self.action,
            "filter": self.filter.as_json(),
            "ids": list(self.ids),
            "value": self.value,
            "expected": self.expected,
            "until": self.until or str(new_id()),
        }

    def describe(self) -> str:
        which = "a selection" if self.ids else self.filter.describe()
        return f"{ACTIONS[self.action].title}{f' to {self.value}' if ACTIONS[self.action].takes_value else ''}: {which}"

    def batches(self) -> Any:
        """Querysets of at most BATCH jobs, newest first. The filter is evaluated anew for each batch."""
        below = UUID(self.until)
        rows = Job.objects.filter(pk__in=self.ids) if self.ids else self.filter.rows()
        while ids := list(rows.filter(pk__lt=below).order_by("-id").values_list("pk", flat=True)[:BATCH]):
            yield Job.objects.filter(pk__in=ids)
            below = ids[-1]

    def execute(self, batch: JobQuerySet, user: User, by: str = "") -> list[UUID]:
        """Change those jobs of the batch that allow it, and write it into the history of each; returns their ids.

        by: the bulk action that does it.
        """
        with transaction.atomic():
            changed = ACTIONS[self.action].verb(batch, self.value)
            told = f"{self.done}, by {by}" if by else self.done
            flag = DELETION if self.action == "delete" else CHANGE
            _write_histories(user, changed, told, flag)
        return changed

    @property
    def done(self) -> str:
        action = ACTIONS[self.action]
        return f"{action.done} {self.value}" if action.takes_value else action.done


def submit_order(order: Order, user: User) -> Job:
    """Log the action, and submit the job that does it."""
    order = replace(order, until=str(new_id()))
    flag = DELETION if order.action == "delete" else CHANGE
    entry = LogEntry.objects.create(
        user=user,
        content_type=ContentType.objects.get_for_model(Job),
        object_repr=order.describe()[:200],
        action_flag=flag,
        change_message="1 job" if order.expected == 1 else f"{order.expected} jobs",
    )
    return submit(KIND, {**order.as_params(), "log_entry": entry.pk}, priority=PRIORITY)


def log_action(user: User, job: Job, told: str) -> None:
    """Write what an operator did to a job into its history."""
    _write_histories(user, [job.pk], told, CHANGE)


def _write_histories(user: User, jobs: Sequence[UUID], told: str, flag: int) -> None:
    content_type = ContentType.objects.get_for_model(Job)
    entries = [
        LogEntry(
            user=user,
            content_type=content_type,
            object_id=str(pk),
            object_repr=f"job {pk}",
            action_flag=flag,
            change_message=told,
        )
        for pk in jobs
    ]
    if len(entries) == 1:
        entries[0].save()  # sends the signal that logs a single action
    else:
        LogEntry.objects.bulk_create(entries)
