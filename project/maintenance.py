"""This app's maintenance tasks (see jobs.cluster.maintenance)."""

from importlib import import_module

from django.conf import settings
from django.utils import timezone

from jobs.cluster.maintenance import every, hourly
from project.login.access import cancel_work_of_inactive_users, end_access_of_inactive_users
from project.models import Session, Token

# These notice a deactivated user however it was deactivated: by an admin, a script or a statement.
every(minutes=0.25)(end_access_of_inactive_users)
every(minutes=0.25)(cancel_work_of_inactive_users)

if settings.CLOUDWATCH_NAMESPACE:
    every(minutes=1)(import_module("project.aws.cloudwatch").publish_backlog)

if settings.SCALE_IN_PROTECTION:
    every(minutes=0.25)(import_module("project.aws.scale_in").protect_while_busy)


@hourly
def prune_expired_tokens() -> int:
    pruned: int = Token.objects.prune()
    return pruned


@hourly
def prune_expired_sessions() -> int:
    pruned, _ = Session.objects.filter(expire_date__lt=timezone.now()).delete()
    return pruned
