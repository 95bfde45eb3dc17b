"""Failures grouped by kind, exception and place: what breaks, since when and how often; actions on a whole group."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from monitor.dashboard.charts import sparkline
from monitor.models import ErrorGroup, ErrorHour
from monitor.views.permissions import OPERATE, VIEW, requires

SHOWN = 50
HOURS = 24


@require_safe
@requires(VIEW)
def errors_page(request: HttpRequest, site: Any) -> HttpResponse:
    """q: a text of kind, class or message. new: only those first seen in the running release."""
    query, new = request.GET.get("q", "").strip()[:200], request.GET.get("new") == "1"
    groups = ErrorGroup.objects.order_by("-last_seen_at")
    if query:
        groups = groups.filter(Q(kind__icontains=query) | Q(type__icontains=query) | Q(message__icontains=query))
    if new:
        groups = groups.filter(release=settings.RELEASE)
    shown = list(groups[:SHOWN])
    trends = _trends([group.pk for group in shown])
    context = {
        "groups": [(group, sparkline(trends[group.pk]), sum(trends[group.pk])) for group in shown],
        "query": query,
        "new": new,
        "release": settings.RELEASE,
        "hours": HOURS,
        "may_operate": request.user.has_perm(OPERATE),
    }
    if request.GET.get("live") == "groups":
        return TemplateResponse(request, "monitor/error_groups.html", context)
    context |= {**site.each_context(request), "title": "Errors", "subtitle": None}
    return TemplateResponse(request, "monitor/errors.html", context)


def _trends(groups: list[str]) -> dict[str, list[int]]:
    """How often each failed in each of the last hours, oldest first."""
    last = timezone.now().replace(minute=0, second=0, microsecond=0)
    hours = [last - timedelta(hours=back) for back in reversed(range(HOURS))]
    counts = {
        (group, hour): number
        for group, hour, number in ErrorHour.objects.filter(group__in=groups, hour__gte=hours[0])
        .order_by()
        .values_list("group", "hour", "count")
    }
    return {group: [counts.get((group, hour), 0) for hour in hours] for group in groups}
