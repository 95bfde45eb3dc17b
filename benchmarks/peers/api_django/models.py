"""The job, with the columns that its representation has."""

import uuid
from typing import Any

from django.conf import settings
from django.db import models


def no_progress() -> dict[str, Any]:
    return {"percent": 0, "message": ""}


class Job(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    kind = models.CharField(max_length=100)
    params = models.JSONField(default=dict)
    status = models.CharField(max_length=10, default="queued")
    progress = models.JSONField(default=no_progress)
    attempt = models.IntegerField(default=0)
    max_attempts = models.IntegerField(default=3)
    priority = models.IntegerField(default=0)
    timeout = models.IntegerField(default=600)
    unique_key = models.CharField(max_length=255, null=True)  # noqa: DJ001
    run_at = models.DateTimeField(auto_now_add=True)
    created = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    result = models.JSONField(null=True)
    errors = models.JSONField(default=list)
    cancel_requested = models.BooleanField(default=False)

    class Meta:
        app_label = "api_django"
        indexes = (models.Index("user", models.F("created").desc(), name="jobs_of_user"),)

    def __str__(self) -> str:
        return str(self.pk)
