"""What has become of a stream's messages lately."""

from datetime import timedelta

from django.utils import timezone

from mail.models import Message, Stream

DAYS = 30


def figures_of(stream: Stream) -> dict[str, int]:
    """Messages of the last DAYS days by status."""
    since = timezone.now() - timedelta(days=DAYS)
    own = Message.objects.filter(user=stream.user_id, stream=stream.name, created_at__gte=since)
    figures: dict[str, int] = own.by_status()
    return figures
