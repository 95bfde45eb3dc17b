"""The Job row: the one truth about a piece of work, and the verbs that move it from state to state."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

import structlog
from django.conf import settings
from django.core.serializers.json import DjangoJSONEncoder
from django.db import IntegrityError, models, transaction
from django.db.models import F, Q
from django.db.models.expressions import Combinable
from django.db.models.functions import Now
from django.utils import timezone

from jobs.errors import AlreadyFinished, LeaseLost, NotRepeatable, UniqueKeyTaken
from jobs.models.attempt_errors import Appended, AttemptError, appended
from jobs.models.claiming import BY_AGE, BY_PRIORITY, BY_PRIORITY_IN_QUEUE
from jobs.models.ids import new_id
from jobs.models.lock_waits import short_lock_waits
from jobs.models.queryset import JobQuerySet
from jobs.models.states import REPEATABLE, TERMINAL, UPCOMING, WAITING, Status
from rest.json_value import Decoder

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

DEFAULT_QUEUE = "default"
UNIQUE_KEY_TRIES = 5
"""Writes with a unique_key that is taken by jobs which end before they can be named."""


def no_progress() -> dict[str, Any]:
    return {"percent": 0, "message": ""}


class Job(models.Model):
    """One job, from its POST to the end of its retention.

    errors: the latest failed attempts, oldest first (jobs.models.attempt_errors). Only what shows them reads them.
    attempt: how often a worker has claimed it; it is also the fence: only the holder of the newest may write.
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
        help_text="Whose it is; empty for the project's own.",
    )
    kind = models.CharField(max_length=100)
    params = models.JSONField(default=dict, blank=True, encoder=DjangoJSONEncoder, decoder=Decoder)
    queue = models.CharField(max_length=50, default=DEFAULT_QUEUE)
    pool = models.CharField(
        max_length=100,
        default="",
        db_default="",  # for the INSERTs of a release that does not know it
        blank=True,
        help_text="Its kind, if that runs in threads; empty: a main thread.",
    )
    priority = models.SmallIntegerField(default=0, help_text="Higher first among the jobs that are due.")
    timeout = models.PositiveIntegerField(help_text="Seconds that one attempt may take.")
    max_attempts = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: without end.")
    budget = models.PositiveIntegerField(
        null=True, blank=True, help_text="How many attempts a round has; run_afresh begins another round."
    )
    backoff = models.JSONField(null=True, blank=True, help_text="Its own retry policy; empty: its kind's.")
    unique_key = models.CharField(  # noqa: DJ001 having none is not a key, and the constraints skip NULL
        max_length=255,
        null=True,
        blank=True,
        help_text="At most one unfinished job of a user has it.",
    )
    request_id = models.CharField(max_length=128, default="", blank=True, help_text="The request that it came from.")

    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    attempt = models.PositiveIntegerField(default=0)
    run_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True, help_text="When the latest attempt began.")
    finished_at = models.DateTimeField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    worker = models.CharField(max_length=100, default="", blank=True, help_text="Who ran the latest attempt.")
    cancel_requested = models.BooleanField(default=False)

    progress = models.JSONField(default=no_progress, encoder=DjangoJSONEncoder)
    result = models.JSONField(null=True, blank=True, encoder=DjangoJSONEncoder, decoder=Decoder)
    errors = models.JSONField(default=list, blank=True, encoder=DjangoJSONEncoder)

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
        )
        indexes = (
            # The hot queries: what a free worker of all queues, or of one, takes next; and who has waited longest.
            models.Index("pool", F("priority").desc(), "run_at", name="job_due", condition=BY_PRIORITY),
            models.Index(
                "queue", "pool", F("priority").desc(), "run_at", name="job_due_in_queue", condition=BY_PRIORITY_IN_QUEUE
            ),
            models.Index("pool", "run_at", name="job_longest_waiting", condition=BY_AGE),
            models.Index("run_at", name="job_upcoming", condition=Q(status__in=UPCOMING)),
            models.Index("lease_expires_at", name="job_leases", condition=Q(status=Status.RUNNING)),
            models.Index("user", F("id").desc(), name="job_of_user", condition=Q(user__isnull=False)),
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
        """The error that a failed job ended with."""
        return self.errors[-1] if self.status == Status.FAILED and self.errors else None

    def succeed(self, result: object) -> None:
        """End the running attempt with its result (JSON)."""
        progress = self.progress | {"percent": 100}
        self._leave_running(None, status=Status.SUCCEEDED, result=result, progress=progress, finished_at=Now())

    def fail(self, error: AttemptError) -> None:
        """End the running attempt and the job with it."""
        self._leave_running(error, status=Status.FAILED, finished_at=Now())

    def retry(self, error: AttemptError, run_at: datetime | Combinable) -> None:
        """End the running attempt; another is due at run_at, which may be an expression for the database."""
        self._leave_running_unless_cancelled(error, status=Status.RETRYING, run_at=run_at, progress=self.progress)

    def give_up(self, error: AttemptError | None = None) -> None:
        """End the running attempt and the job with it: it was cancelled."""
        self._leave_running(error, status=Status.CANCELLED, finished_at=Now())

    def hand_back(self) -> None:
        """End the running attempt without consuming it: its worker has to stop and the job has not."""
        self._leave_running_unless_cancelled(
            None, status=Status.QUEUED, attempt=self.attempt - 1, progress=no_progress()
        )

    def cancel(self) -> None:
        """Cancel it at once while it waits, have it stopped while it runs.

        Raises AlreadyFinished, and OperationalError when another transaction keeps its row locked.
        """
        while not self._cancelled_or_told():
            self.refresh_from_db()
            if self.finished:
                break
        self.refresh_from_db()
        if self.finished and self.status != Status.CANCELLED:
            raise AlreadyFinished(self.pk, self.status)
        log.info("job_cancellation", job_id=str(self.pk), status=self.status)

    def run_afresh(self) -> None:
        """Queue a failed or cancelled job again: its attempts count on, with a new budget.

        Raises NotRepeatable, and UniqueKeyTaken when another job has taken its unique_key meanwhile.
        """
        repeated = self.with_unique_key(self._queued_again)
        self.refresh_from_db()
        if not repeated:
            raise NotRepeatable(self.pk, self.status)
        log.info("job_run_afresh", job_id=str(self.pk), attempt=self.attempt)

    def with_unique_key(self, write: Callable[[], Result]) -> Result:
        """Do a write after which this job is unfinished, and so holds its unique_key. Raises UniqueKeyTaken.

        The database decides whether the key is free. The job that holds it may end before it is looked up: the write
        is then tried again. A refusal that is not about the key has no holder either, and is raised in the end.
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

    def _queued_again(self) -> bool:
        again = Job.objects.filter(pk=self.pk, status__in=REPEATABLE).update(
            status=Status.QUEUED,
            run_at=Now(),
            finished_at=None,
            cancel_requested=False,
            progress=no_progress(),
            max_attempts=F("attempt") + F("budget"),
        )
        return bool(again)

    def _unique_key_holder(self) -> UUID | None:
        """The id of the unfinished job that has this one's unique_key."""
        if self.unique_key is None:
            return None
        same = Job.objects.unfinished().filter(user=self.user_id, unique_key=self.unique_key)
        return next(iter(same.order_by().values_list("pk", flat=True)[:1]), None)

    def _cancelled_or_told(self) -> bool:
        """Whether it could be cancelled while it waits or told while it runs; between the two it may change sides."""
        same = Job.objects.filter(pk=self.pk)
        waiting, running = same.filter(status__in=WAITING), same.filter(status=Status.RUNNING)
        with short_lock_waits():
            if waiting.update(status=Status.CANCELLED, cancel_requested=True, finished_at=Now()):
                return True
            return bool(running.update(cancel_requested=True))

    def _held(self) -> JobQuerySet:
        return Job.objects.filter(pk=self.pk, status=Status.RUNNING, attempt=self.attempt, worker=self.worker)

    def _leave_running(self, error: AttemptError | None, **changes: Any) -> None:
        """The only way out of running: it works for the attempt that holds the lease, and once. Raises LeaseLost."""
        if not self._left(self._held(), error, {"progress": self.progress} | changes):
            raise LeaseLost(self.pk, self.attempt)

    def _leave_running_unless_cancelled(self, error: AttemptError | None, **changes: Any) -> None:
        """Leave running to run again, but not against a wish to cancel that came meanwhile. Raises LeaseLost."""
        if not self._left(self._held().filter(cancel_requested=False), error, changes):
            self.give_up(error)

    def _left(self, held: JobQuerySet, error: AttemptError | None, changes: dict[str, Any]) -> bool:
        """End the attempt if it is held. The error is added in the row, and here if the errors were read before."""
        if error:
            changes["errors"] = Appended(error)
        if not held.update(lease_expires_at=None, **changes):
            return False
        if error and "errors" in self.__dict__:
            self.errors = appended(self.errors, error)
        log.info("job_left_running", job_id=str(self.pk), attempt=self.attempt, status=changes["status"])
        return True
