"""How much a message matters: what a failure of it is worth."""

from datetime import timedelta

from django.db.models import TextChoices


class Importance(TextChoices):
    CRITICAL = "critical"  # a password, an alarm: rather twice than never
    NORMAL = "normal"  # rather late than twice
    BULK = "bulk"  # a newsletter: rather not at all than against somebody's will


PRIORITY = {Importance.CRITICAL: 10, Importance.NORMAL: 0, Importance.BULK: -10}
"""Of the job that sends it."""

PATIENCE = {
    Importance.CRITICAL: timedelta(hours=24),
    Importance.NORMAL: timedelta(hours=24),
    Importance.BULK: timedelta(hours=24),
}
"""How long after it was due a message is worth sending, unless it says so itself in expires_at."""
