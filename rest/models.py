"""Stored responses (rest/requests/idempotency.py)."""

from django.conf import settings
from django.db import models
from django.utils import timezone


class IdempotencyKey(models.Model):
    """The response to a POST with an Idempotency-Key, for when the request is repeated."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, db_index=False)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64, help_text="Of the path and the payload.")
    status = models.PositiveSmallIntegerField(null=True)
    headers = models.JSONField(default=dict)
    body = models.TextField(default="")
    created_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        constraints = (models.UniqueConstraint(name="one_answer_per_key", fields=("user", "key")),)

    def __str__(self) -> str:
        return f"{self.key} of {self.user_id}"
