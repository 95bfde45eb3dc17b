"""Failures of jobs, grouped by what failed where."""

from django.db import models
from django.utils import timezone


class ErrorGroup(models.Model):
    """Failures of one kind with the same exception at the same place (monitor/fingerprint.py).

    message, example: of the latest one. release: that in which it was first seen.
    """

    fingerprint = models.CharField(primary_key=True, max_length=16)
    kind = models.CharField(max_length=100)
    type = models.CharField(max_length=200, help_text="The exception's class.")
    place = models.CharField(max_length=300, blank=True, help_text="The innermost line of our own code.")
    message = models.CharField(max_length=500, blank=True)
    example = models.UUIDField(help_text="A job that failed so.")
    count = models.BigIntegerField(default=0)
    release = models.CharField(max_length=50, default="", blank=True)
    first_seen_at = models.DateTimeField(default=timezone.now)
    last_seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-last_seen_at",)
        indexes = (
            models.Index("last_seen_at", name="error_group_last_seen"),
            models.Index("type", name="error_group_type"),
        )

    def __str__(self) -> str:
        return f"{self.type} in {self.kind}"


class ErrorHour(models.Model):
    """How often a group failed in an hour: its trend."""

    group = models.ForeignKey(ErrorGroup, models.CASCADE, related_name="hours")
    hour = models.DateTimeField()
    count = models.BigIntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(name="one_row_of_error_hour", fields=("group", "hour")),)
        indexes = (models.Index("hour", name="error_hour_hour"),)

    def __str__(self) -> str:
        return f"{self.group_id} {self.hour:%Y-%m-%d %H} {self.count}"


class FailedJob(models.Model):
    """The group and the message of a failed job, by which operators search for errors (monitor/job_filter.py)."""

    job_id = models.UUIDField(primary_key=True)
    group = models.ForeignKey(ErrorGroup, models.CASCADE, related_name="jobs", db_index=False)
    message = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField()

    class Meta:
        indexes = (
            models.Index("group", models.F("job_id").desc(), name="failed_jobs_of_group"),
            models.Index("at", name="failed_job_at"),
        )

    def __str__(self) -> str:
        return f"{self.job_id} {self.group_id}"
