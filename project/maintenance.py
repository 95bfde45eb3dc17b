"""What this app has thrown away once an hour."""

from jobs.cluster.maintenance import hourly
from project.models import Token


@hourly
def expired_tokens() -> int:
    pruned: int = Token.objects.prune()
    return pruned
