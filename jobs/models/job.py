"""The Job row: the only source of truth about a job, and the transitions between its states."""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime
from json import JSONDecoder
from typing import Any, Self, TypeVar, cast
from uuid import UUID

import structlog
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, models, transaction
from django.db.models import F, Q
from django.db.models.base import ModelState
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils import timezone

from jobs.errors import AlreadyFinished, LeaseLost, NotRestartable, UniqueKeyTaken
from jobs.models.attempt_errors import AppendError, AttemptError, append_error
from jobs.models.ids import new_id
from jobs.models.queryset import JobQuerySet
from jobs.models.queue.due import BY_AGE, BY_OWNER, BY_PRIORITY, BY_PRIORITY_IN_QUEUE
from jobs.models.queue.lock_waits import short_lock_waits
from jobs.models.states import RESTARTABLE, TERMINAL, UPCOMING, WAITING, Status
from jobs.registry import REMOTE_POOL
from rest.json_value import stored_json_decoder
from rest.log_batch import info_each
from rest.watch.table import new_version

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

DECODER = cast("type[JSONDecoder]", stored_json_decoder)
DEFAULT_QUEUE = "default"
UNIQUE_KEY_TRIES = 5
"""How often a write is tried: the job that holds its unique_key may finish before it is looked up."""


def no_progress() -> dict[str, Any]:
    return {"percent": 0, "message": ""}


class Job(models.Model):
    """One job, from its POST to the end of its retention.

    errors: the latest failed attempts, oldest first (jobs/models/attempt_errors.py); loaded only where they are shown.
    attempt: counts claims, and is the fencing token: only the holder of the latest attempt may write.
    """

    Status = Status

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="jobs",
        db_index=False,
        help_text="The owner; empty for the project's own jobs.",
    )
    kind = models.CharField(max_length=100)
    params = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder, decoder=DECODER)
    queue = models.CharField(max_length=50, default=DEFAULT_QUEUE)
    pool = models.CharField(
        max_length=100,
        default="",
        db_default="",  # for INSERTs by an older release, which has no such column
        blank=True,
        help_text="The kind, if it runs in threads; @remote; empty: runs in a main thread.",
    )
    priority = models.SmallIntegerField(default=0, help_text="Due jobs of higher priority run first.")
    timeout = models.PositiveIntegerField(help_text="Seconds that one attempt may take.")
    max_attempts = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: unlimited.")
    budget = models.PositiveIntegerField(
        null=True, blank=True, help_text="Attempts granted at submission, and again by each restart."
    )
    backoff = models.JSONField(null=True, blank=True, help_text="This job's retry policy; empty: the kind's.")
    unique_key = models.CharField(  # noqa: DJ001 "" would be a key; the constraints skip NULL
        max_length=255,
        null=True,
        blank=True,
        help_text="Unique among the unfinished jobs of a user.",
    )
    request_id = models.CharField(max_length=128, default="", blank=True, help_text="The request that submitted it.")

    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    attempt = models.PositiveIntegerField(default=0)
    run_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True, help_text="Start of the latest attempt.")
    finished_at = models.DateTimeField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=100, default="", blank=True, help_text="The worker of the latest attempt.")
    cancel_requested = models.BooleanField(default=False)
    version = models.BigIntegerField(
        default=new_version,
        editable=False,
        help_text="Grows with every change that a client can see (rest/migrations/_triggers.py).",
    )

    progress = models.JSONField(default=no_progress, encoder=DjangoJSONEncoder)
    result = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder, decoder=DECODER)
    errors = models.JSONField(default=list, blank=True, encoder=DjangoJSONEncoder)
    output = models.JSONField(
        null=True, blank=True, help_text="The file of the attempt that it names (jobs/models/outputs.py)."
    )

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.CheckConstraint(
                name="job_finished_at_iff_terminal",
                condition=Q(status__in=TERMINAL, finished_at__isnull=False)
                | (~Q(status__in=TERMINAL) & Q(finished_at__isnull=True)),
            ),
            models.CheckConstraint(
                name="job_lease_iff_running",
                condition=Q(status=Status.RUNNING, lease_expires_at__isnull=False, started_at__isnull=False)
                | (~Q(status=Status.RUNNING) & Q(lease_expires_at__isnull=True)),
            ),
            models.CheckConstraint(name="job_status_known", condition=Q(status__in=Status.values)),
            models.CheckConstraint(name="job_timeout_positive", condition=Q(timeout__gt=0)),
            models.UniqueConstraint(
                name="job_unique_key_while_unfinished",
                fields=("user", "unique_key"),
                condition=~Q(status__in=TERMINAL) & Q(unique_key__isnull=False),
            ),
            models.UniqueConstraint(
                name="job_unique_key_of_nobody_while_unfinished",
                fields=("unique_key",),
                condition=~Q(status__in=TERMINAL) & Q(unique_key__isnull=False, user__isnull=True),
            ),
            models.UniqueConstraint(
                name="job_one_lease_per_remote_worker",
                fields=("user", "worker"),
                condition=Q(status=Status.RUNNING, pool=REMOTE_POOL),
            ),
        )
        indexes = (
            # The claim's queries: the best due job of all queues or of one queue, and the one that has waited longest.
            models.Index("pool", F("priority").desc(), "run_at", name="job_due", condition=BY_PRIORITY),
            models.Index(
                "queue", "pool", F("priority").desc(), "run_at", name="job_due_in_queue", condition=BY_PRIORITY_IN_QUEUE
            ),
            models.Index("pool", "run_at", name="job_longest_waiting", condition=BY_AGE),
            models.Index("user", F("priority").desc(), "run_at", name="job_due_of_owner", condition=BY_OWNER),
            models.Index("run_at", name="job_upcoming", condition=Q(status__in=UPCOMING)),
            models.Index("lease_expires_at", name="job_leases", condition=Q(status=Status.RUNNING)),
            models.Index("user", F("id").desc(), name="job_of_user", condition=Q(user__isnull=False)),
            # What the task monitor reads: the newest failed jobs, and what finished in a minute (monitor/rollups).
            models.Index(F("id").desc(), name="job_failed", condition=Q(status=Status.FAILED)),
            models.Index("finished_at", name="job_finished", condition=Q(finished_at__isnull=False)),
        )
        permissions = (
            ("operate_job", "Can cancel, retry, delete and reorder jobs of all users"),
            ("view_job_data", "Can see the params and results of jobs of all users"),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def finished(self) -> bool:
        return self.status in TERMINAL

    @property
    def waiting(self) -> bool:
        return self.status in WAITING

    @property
    def error(self) -> AttemptError | None:
        """The last error of a failed job."""
        return self.errors[-1] if self.status == Status.FAILED and self.errors else None

    def copy(self, params: object) -> Self:
        """A new job with other params, to be inserted. Quicker than the constructor, which sets each field."""
        job = type(self).__new__(type(self))
        job.__dict__ = self.__dict__ | {"_state": ModelState(), "id": new_id(), "params": params}
        return job

    def succeed(self, result: object) -> None:
        """Finish the running attempt and the job with a result (JSON). Raises LeaseLost, as the next five."""
        progress = self.progress | {"percent": 100}
        self._leave_running(None, status=Status.SUCCEEDED, result=result, progress=progress, finished_at=Now())

    def fail(self, error: AttemptError) -> None:
        """Finish the running attempt and the job with an error."""
        self._leave_running(error, status=Status.FAILED, finished_at=Now())

    def retry(self, error: AttemptError, run_at: datetime | Combinable) -> None:
        """End the running attempt; the next one is due at run_at, a datetime or a database expression."""
        self._leave_running_unless_cancelled(error, status=Status.RETRYING, run_at=run_at, progress=self.progress)

    def postpone(self, error: AttemptError, run_at: datetime | Combinable) -> None:
        """retry(), but the attempt does not count: the job may make one more."""
        more = {"max_attempts": F("max_attempts") + 1}  # NULL, unlimited, stays NULL
        self._leave_running_unless_cancelled(
            error, status=Status.RETRYING, run_at=run_at, progress=self.progress, **more
        )

    def finish_cancelled(self, error: AttemptError | None = None) -> None:
        """Finish the running attempt and the job as cancelled."""
        self._leave_running(error, status=Status.CANCELLED, finished_at=Now())

    def hand_back(self) -> None:
        """Put the running job back into the queue; the attempt does not count, because its worker has to stop."""
        self._leave_running_unless_cancelled(
            None, status=Status.QUEUED, attempt=self.attempt - 1, progress=no_progress()
        )

    def cancel(self) -> None:
        """Cancel a waiting job at once; ask the worker of a running job to stop it.

        Raises AlreadyFinished, and OperationalError if another transaction keeps the row locked.
        """
        while not self._try_cancel():
            self.refresh_from_db()
            if self.finished:
                break
        self.refresh_from_db()
        if self.finished and self.status != Status.CANCELLED:
            raise AlreadyFinished(self.pk, self.status)
        log.info("job_cancellation", job_id=str(self.pk), status=self.status)

    def restart(self) -> None:
        """Queue a failed or cancelled job again. Attempts keep counting; it gets another budget of them.

        Raises NotRestartable, and UniqueKeyTaken if another unfinished job has its unique_key by now.
        """
        restarted = self.with_unique_key(self._try_restart)
        self.refresh_from_db()
        if not restarted:
            raise NotRestartable(self.pk, self.status)
        log.info("job_restarted", job_id=str(self.pk), attempt=self.attempt)

    def with_unique_key(self, write: Callable[[], Result]) -> Result:
        """Run a write that makes this job unfinished, so that it holds its unique_key. Raises UniqueKeyTaken.

        The unique constraints decide whether the key is free. If the holder finishes before it is looked up, the write
        is tried again. An IntegrityError with another cause has no holder and is raised after the last try.
        """
        for tries_left in reversed(range(UNIQUE_KEY_TRIES)):
            try:
                with transaction.atomic():
                    return write()
            except IntegrityError:
                if (holder := self._unique_key_holder()) is not None:
                    raise UniqueKeyTaken(holder) from None
                if not tries_left:
                    raise
        raise AssertionError("the last try returns or raises")

    @classmethod
    def log_ends(cls, jobs: Iterable[Self], status: str) -> None:
        """Log the ends of attempts, after they were written: an attempt's only line at INFO."""
        if log.isEnabledFor(logging.INFO):
            now = timezone.now()
            lines = [job._end_of_attempt(status, now) for job in jobs]
            info_each(log, "job_finished" if status in TERMINAL else "job_left_running", lines)

    def _end_of_attempt(self, status: str, now: datetime) -> dict[str, Any]:
        """waited, ran: seconds from due to started, and until now by this machine's clock."""
        started = self.started_at or self.run_at
        return {
            "job_id": str(self.pk),
            "kind": self.kind,
            "attempt": self.attempt,
            "status": status,
            "waited": round((started - self.run_at).total_seconds(), 3),
            "ran": round((now - started).total_seconds(), 3),
            "worker": self.worker,
            "request_id": self.request_id,
        }

    def _try_restart(self) -> bool:
        restarted = Job.objects.filter(pk=self.pk, status__in=RESTARTABLE).update(
            status=Status.QUEUED,
            run_at=Now(),
            finished_at=None,
            cancel_requested=False,
            progress=no_progress(),
            max_attempts=F("attempt") + F("budget"),
        )
        return bool(restarted)

    def _unique_key_holder(self) -> UUID | None:
        """The id of the unfinished job that has this job's unique_key."""
        if self.unique_key is None:
            return None
        same = Job.objects.unfinished().filter(user=self.user_id, unique_key=self.unique_key)
        return next(iter(same.order_by().values_list("pk", flat=True)[:1]), None)

    def _try_cancel(self) -> bool:
        """Cancel it if it waits, set cancel_requested if it runs. False if it changed state between the two updates."""
        same = Job.objects.filter(pk=self.pk)
        waiting, running = same.filter(status__in=WAITING), same.filter(lease_expires_at__isnull=False)
        with short_lock_waits():
            if waiting.update(status=Status.CANCELLED, cancel_requested=True, finished_at=Now()):
                return True
            return bool(running.update(cancel_requested=True))

    def _leave_running(self, error: AttemptError | None, **changes: Any) -> None:
        """The only way out of `running`: succeeds once, and only for the attempt that holds the lease.

        Raises LeaseLost.
        """
        if not self._update_held(Job.objects.held_by(self.worker, self), error, {"progress": self.progress} | changes):
            raise LeaseLost(self.pk, self.attempt)

    def _leave_running_unless_cancelled(self, error: AttemptError | None, **changes: Any) -> None:
        """Leave `running` to run again; finish as cancelled if that was requested meanwhile. Raises LeaseLost."""
        if not self._update_held(Job.objects.held_by(self.worker, self).filter(cancel_requested=False), error, changes):
            self.finish_cancelled(error)

    def _update_held(self, held: JobQuerySet, error: AttemptError | None, changes: dict[str, Any]) -> bool:
        """Release the lease and apply the changes; False if no row is held.

        The database appends the error; self.errors is extended only if it was loaded.
        """
        if error:
            changes["errors"] = AppendError(error)
        if not held.update(lease_expires_at=None, **changes):
            return False
        if error and "errors" in self.__dict__:
            self.errors = append_error(self.errors, error)
        self.log_ends([self], changes["status"])
        return True
