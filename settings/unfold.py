"""The admin's looks (django-unfold): its name, its style sheet, and the links beside its pages."""

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _link(title: str, icon: str, page: str, permission: str = "") -> dict[str, Any]:
    """page: a URL's name. permission: who may see the link; empty: every operator."""
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{page}"), "permission": _allows(permission)}


def _allows(permission: str) -> Callable[[HttpRequest], bool]:
    return lambda request: not permission or request.user.has_perm(permission)


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Legwork",
    "SITE_HEADER": "Legwork",
    "SITE_SUBHEADER": "Task monitor",
    "SITE_SYMBOL": "work_history",
    "SITE_FAVICONS": [{"rel": "icon", "href": lambda request: static("page/icon.svg"), "type": "image/svg+xml"}],
    "SITE_URL": "/api/v1/docs/",
    "SHOW_HISTORY": True,
    "STYLES": [lambda request: static("monitor/monitor.css")],
    "SIDEBAR": {
        "show_all_applications": True,
        "navigation": [
            {
                "title": "Jobs",
                "items": [
                    _link("Dashboard", "monitoring", "index"),
                    _link("Jobs", "list_alt", "jobs_job_changelist", "jobs.view_job"),
                    _link("Errors", "error", "monitor_errors", "jobs.view_job"),
                    _link("Queues and kinds", "view_week", "monitor_queues", "jobs.view_job"),
                ],
            },
            {
                "title": "Mail",
                "items": [
                    _link("Messages", "mail", "mail_message_changelist", "mail.view_message"),
                    _link("Broadcasts", "campaign", "mail_broadcast_changelist", "mail.view_broadcast"),
                    _link("Suppressions", "block", "mail_suppression_changelist", "mail.view_suppression"),
                    _link("Providers", "dns", "mail_provider_changelist", "mail.view_provider"),
                    _link("Refused senders", "person_off", "mail_refusedsender_changelist", "mail.view_refusedsender"),
                    _link("Events", "bolt", "mail_event_changelist", "mail.view_event"),
                    _link("Alerts", "notifications", "mail_alert_changelist", "mail.view_alert"),
                ],
            },
            {
                "title": "Access",
                "items": [
                    _link("Users", "person", "auth_user_changelist", "auth.view_user"),
                    _link("Groups", "group", "auth_group_changelist", "auth.view_group"),
                    _link("Tokens", "key", "project_token_changelist", "project.view_token"),
                    _link("Actions", "history", "admin_logentry_changelist", "admin.view_logentry"),
                ],
            },
        ],
    },
}
