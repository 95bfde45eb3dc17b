"""This app's maintenance tasks (see jobs.cluster.maintenance)."""

from importlib import import_module

from django.conf import settings

from jobs.cluster.maintenance import hourly
from project.models import Token

if settings.CLOUDWATCH_NAMESPACE:
    import_module("project.cloudwatch")


@hourly
def prune_expired_tokens() -> int:
    pruned: int = Token.objects.prune()
    return pruned
