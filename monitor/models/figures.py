"""Figures by minute, kept by dispatchers (monitor/rollups), and when each release first ran."""

from datetime import UTC, datetime

from django.db import models
from django.utils import timezone

EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""The minute of the row that sums up all minutes since the installation: Prometheus wants counters that only grow."""
ALL_KINDS = ""
"""The kind of the row that sums up all kinds."""


class JobFigures(models.Model):
    """The jobs of a kind that finished with a status in a minute.

    wait: from when the last attempt was due until it started. run: the last attempt's. Seconds, in sum and by bucket
    (monitor/histogram.py); a job that never started is in neither.
    """

    minute = models.DateTimeField()
    kind = models.CharField(max_length=100, blank=True)
    status = models.CharField(max_length=10)
    count = models.BigIntegerField(default=0)
    attempts = models.BigIntegerField(default=0)
    wait_seconds = models.FloatField(default=0)
    run_seconds = models.FloatField(default=0)
    wait_buckets = models.JSONField(default=list)
    run_buckets = models.JSONField(default=list)

    class Meta:
        constraints = (models.UniqueConstraint(name="one_row_of_job_figures", fields=("kind", "minute", "status")),)
        indexes = (models.Index("minute", name="job_figures_by_minute"),)

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M} {self.kind} {self.status} {self.count}"


class MailFigures(models.Model):
    """What happened to mail in a minute. outcome: created, attempted, or a type of event: delivered, bounced, …"""

    minute = models.DateTimeField()
    provider = models.CharField(max_length=50, blank=True)
    outcome = models.CharField(max_length=50)
    count = models.BigIntegerField(default=0)

    class Meta:
        constraints = (
            models.UniqueConstraint(name="one_row_of_mail_figures", fields=("minute", "provider", "outcome")),
        )

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M} {self.provider} {self.outcome} {self.count}"


class QueueDepth(models.Model):
    """The unfinished jobs of a queue and kind, by status, as last counted in a minute. oldest: the earliest run_at.

    Without queue and kind: the highest number of all together in this minute.
    """

    minute = models.DateTimeField()
    queue = models.CharField(max_length=50)
    kind = models.CharField(max_length=100)
    status = models.CharField(max_length=10)
    count = models.BigIntegerField()
    oldest = models.DateTimeField(null=True)

    class Meta:
        constraints = (models.UniqueConstraint(name="one_row_of_depth", fields=("minute", "queue", "kind", "status")),)

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M} {self.queue} {self.kind} {self.status} {self.count}"


class RollupPosition(models.Model):
    """Up to when a roll-up has counted. The dispatcher that locks the row counts on; others skip the round."""

    name = models.CharField(primary_key=True, max_length=20)
    until = models.DateTimeField()
    ran_at = models.DateTimeField(default=timezone.now)
    seconds = models.FloatField(default=0, help_text="How long the last round took.")

    def __str__(self) -> str:
        return f"{self.name} {self.until:%Y-%m-%d %H:%M:%S}"


class Release(models.Model):
    """A deployed version (settings.RELEASE), and when its first cluster started."""

    name = models.CharField(primary_key=True, max_length=50)
    first_seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("-first_seen_at",)

    def __str__(self) -> str:
        return self.name
