"""The dashboard: /admin/. live.js replaces its parts, the quick ones every two seconds.

The charts are fetched after the page: a reader looks at the numbers first.
"""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from monitor.dashboard import parts
from monitor.views.permissions import VIEW
from routers import pool, use_primary, use_replica


def dashboard_page(request: HttpRequest, site: Any, extra: dict[str, Any]) -> HttpResponse:
    """Staff who may not see jobs get an empty index with the links beside it."""
    if not request.user.has_perm(VIEW):
        context = {**site.each_context(request), **extra, "title": "Legwork", "subtitle": None}
        return TemplateResponse(request, "monitor/no_dashboard.html", context)
    span = "day" if request.GET.get("span") == "day" else "hour"
    live = request.GET.get("live")
    # From the primary, because a replica may lag; while there is no primary, from a replica.
    with use_replica() if pool.primary_is_out else use_primary():
        context = {"span": span} | (parts.charts[span]() if live == "charts" else parts.now())
    if live in ("now", "charts"):
        return TemplateResponse(request, f"monitor/dashboard_{live}.html", context)
    context |= {**site.each_context(request), **extra, "title": "Dashboard", "subtitle": None}
    return TemplateResponse(request, "monitor/dashboard.html", context)
