"""This app's hourly maintenance task (see jobs.cluster.maintenance)."""

from jobs.cluster.maintenance import hourly
from project.models import Token


@hourly
def prune_expired_tokens() -> int:
    pruned: int = Token.objects.prune()
    return pruned
