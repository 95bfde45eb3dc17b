"""A stream's recent messages, counted by status."""

from datetime import timedelta

from django.utils import timezone

from mail.models import Message, Stream

DAYS = 30


def stream_figures(stream: Stream) -> dict[str, int]:
    """Messages of the last DAYS days by status."""
    since = timezone.now() - timedelta(days=DAYS)
    recent = Message.objects.filter(user=stream.user_id, stream=stream.name, created_at__gte=since)
    figures: dict[str, int] = recent.by_status()
    return figures
