"""The importance of a message, which decides about retries, duplicates and expiry."""

from datetime import timedelta

from django.db.models import TextChoices

from jobs.priorities import OWN_PRIORITY


class Importance(TextChoices):
    CRITICAL = "critical"  # a password, an alarm: a duplicate is better than a loss
    NORMAL = "normal"  # late is better than a duplicate
    BULK = "bulk"  # a newsletter: not sent is better than sent to somebody who does not want it


PRIORITY = {
    Importance.CRITICAL: OWN_PRIORITY + 10,
    Importance.NORMAL: OWN_PRIORITY,
    Importance.BULK: OWN_PRIORITY - 10,
}
"""Of the job that sends the message."""

EXPIRES_AFTER = {
    Importance.CRITICAL: timedelta(hours=24),
    Importance.NORMAL: timedelta(hours=24),
    Importance.BULK: timedelta(hours=24),
}
"""The default of expires_at, counted from when the message is due."""
