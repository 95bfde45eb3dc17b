"""Pauses: queues and kinds whose jobs no worker may claim until an operator resumes them."""

from django.db import models
from django.utils import timezone


class Pause(models.Model):
    """A paused queue or kind. Running jobs go on; waiting ones wait, however often workers restart."""

    class Scope(models.TextChoices):
        QUEUE = "queue"
        KIND = "kind"

    scope = models.CharField(max_length=5, choices=Scope.choices)
    name = models.CharField(max_length=100)
    reason = models.CharField(max_length=200)
    by = models.CharField(max_length=150, help_text="The operator's user name.")
    since = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("scope", "name")
        constraints = (models.UniqueConstraint(name="one_pause_of_each", fields=("scope", "name")),)
        permissions = (("pause_queue", "Can pause and resume queues and kinds"),)

    def __str__(self) -> str:
        return f"{self.scope} {self.name}"
