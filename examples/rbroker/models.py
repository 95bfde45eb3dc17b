"""A task for a remote device, and its states."""

from datetime import timedelta
from typing import Any, ClassVar

from django.db import models, transaction
from django.utils import timezone
from django_q.models import Schedule
from django_q.tasks import async_task, schedule

TASKS = "examples.rbroker.tasks"


class Refused(Exception):
    """The task is not in a state that allows this."""


class RemoteTask(models.Model):
    """offer() → begin() by one device → succeed(), or time_out() by a schedule."""

    class Status(models.TextChoices):
        NEW = "new"
        OFFERED = "offered"
        BEGUN = "begun"
        SUCCEEDED = "succeeded"
        TIMED_OUT = "timed out"

    objects: ClassVar[models.Manager["RemoteTask"]] = models.Manager()

    status = models.CharField(max_length=20, choices=Status, default=Status.NEW)
    device = models.CharField(max_length=50, blank=True)
    result = models.JSONField(null=True)
    begun_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "rbroker"

    def __str__(self) -> str:
        return f"{self.pk}: {self.status}"

    def offer(self) -> None:
        """Let a django-q task offer it to the devices."""
        async_task(f"{TASKS}.offer", self.pk, task_name=f"offer {self.pk}")

    def begin(self, device: str, seconds: float) -> None:
        """The device has so many seconds. Raises Refused if another device has begun the task."""
        with transaction.atomic():
            self._move(self.Status.OFFERED, self.Status.BEGUN, device=device, begun_at=timezone.now())
            due_at = timezone.now() + timedelta(seconds=seconds)
            schedule(f"{TASKS}.time_out", self.pk, name=self._alarm, next_run=due_at, hook=f"{TASKS}.note_time_out")

    def succeed(self, result: object) -> None:
        with transaction.atomic():
            self._move(self.Status.BEGUN, self.Status.SUCCEEDED, result=result, ended_at=timezone.now())
            Schedule.objects.filter(name=self._alarm).delete()

    def time_out(self) -> None:
        self._move(self.Status.BEGUN, self.Status.TIMED_OUT, ended_at=timezone.now())

    @property
    def seconds(self) -> float:
        """Duration from begun_at to ended_at."""
        assert self.begun_at  # noqa: S101
        assert self.ended_at  # noqa: S101
        return (self.ended_at - self.begun_at).total_seconds()

    @property
    def _alarm(self) -> str:
        return f"time-out of task {self.pk}"

    def _move(self, before: Status, after: Status, **fields: Any) -> None:
        if not RemoteTask.objects.filter(pk=self.pk, status=before).update(status=after, **fields):
            raise Refused(f"Task {self.pk} is not {before}, and cannot be {after}.")
        self.refresh_from_db()
