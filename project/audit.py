"""The audit trail: a log event for each login, failed login, logout and action in the admin. No secrets.

Tokens, templates and suppressions are logged where they change.
"""

from functools import wraps
from typing import Any

import structlog
from django.contrib import admin
from django.contrib.admin import actions
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.db.models import QuerySet
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.http import HttpRequest
from django.http.response import HttpResponseBase

log = structlog.get_logger(__name__)

ACTIONS = {1: "added", 2: "changed", 3: "deleted"}


@receiver(user_logged_in)
def log_login(sender: Any, user: User, **more: Any) -> None:
    log.info("login", user_id=user.pk)


@receiver(user_logged_out)
def log_logout(sender: Any, user: User | None, **more: Any) -> None:
    if user is not None:
        log.info("logout", user_id=user.pk)


@receiver(user_login_failed)
def log_failed_login(sender: Any, credentials: dict[str, Any], **more: Any) -> None:
    """Logs the account's id, if there is one, and no name: what was typed as a name may be a password."""
    name = str(credentials.get("username") or "")[:150]
    account = None if "\0" in name else User.objects.filter(username=name).values_list("pk", flat=True).first()
    log.warning("login_failed", user_id=account)


@receiver(post_save, sender=LogEntry)
def log_admin_action(sender: Any, instance: LogEntry, **more: Any) -> None:
    what = instance.content_type.model if instance.content_type else ""
    _log_action(instance.user_id, ACTIONS.get(instance.action_flag, ""), what, str(instance.object_id))


@wraps(actions.delete_selected)
def delete_selected(model_admin: Any, request: HttpRequest, queryset: QuerySet[Any]) -> HttpResponseBase | None:
    """Django's action, with our log lines: for several objects it writes all LogEntries at once and sends no signal."""
    selected = [str(pk) for pk in queryset.values_list("pk", flat=True)]
    response: HttpResponseBase | None = actions.delete_selected(model_admin, request, queryset)
    if response is None and len(selected) > 1:
        for object_id in selected:
            _log_action(request.user.pk, "deleted", queryset.model._meta.model_name, object_id)
    return response


admin.site.add_action(delete_selected)


def _log_action(user_id: int | None, action: str, model: str | None, object_id: str) -> None:
    log.info("admin_action", user_id=user_id, action=action, model=model, object_id=object_id)
