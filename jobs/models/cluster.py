"""Clusters as their dispatchers report them every second (jobs/cluster/reports.py)."""

from datetime import timedelta
from typing import Any

from django.db import models
from django.utils import timezone

LOST_AFTER = timedelta(seconds=2.5)
"""A cluster that has not reported for so long was killed, or is cut off from the database."""


class Cluster(models.Model):
    """One `manage.py qcluster`. It deletes its row when it is stopped properly.

    queue: the one that it serves; empty: all. processes: [{"name", "role", "pid", "memory" (bytes), "busy" (jobs)}].
    """

    name = models.CharField(primary_key=True, max_length=100, help_text="Host and a random id.")
    host = models.CharField(max_length=60)
    release = models.CharField(max_length=50, default="", blank=True)
    queue = models.CharField(max_length=50, default="", blank=True)
    broker = models.CharField(max_length=100, default="", blank=True)
    started_at = models.DateTimeField(default=timezone.now)
    seen_at = models.DateTimeField(default=timezone.now)
    replacements = models.PositiveIntegerField(default=0, help_text="Worker processes that ended and were replaced.")
    clock_skew = models.FloatField(default=0, help_text="Seconds by which its clock is ahead of the database's.")
    processes = models.JSONField(default=list)

    class Meta:
        ordering = ("host", "started_at")

    def __str__(self) -> str:
        return self.name

    @property
    def lost(self) -> bool:
        return timezone.now() - self.seen_at > LOST_AFTER

    @property
    def memory(self) -> int:
        """Bytes of all its processes; what they share counts for each."""
        return sum(process["memory"] for process in self.processes)

    def workers(self, role: str) -> list[dict[str, Any]]:
        return [process for process in self.processes if process["role"] == role]
