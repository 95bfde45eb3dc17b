"""The list of jobs: filters, search, rows that live.js replaces, and the form for actions on many."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from jobs.models import Job
from jobs.models.states import Status
from jobs.registry import kinds
from monitor.bulk import ACTIONS
from monitor.dashboard.counts import unfinished_counts
from monitor.job_filter import AGES, JobFilter
from monitor.job_search import Found, newest
from monitor.job_times import times
from monitor.models import ErrorGroup
from monitor.views.permissions import OPERATE, VIEW, requires

PAGE = 50
SUGGESTED = 200
"""Users and error classes that the filters suggest."""


@require_safe
@requires(VIEW)
def job_list(request: HttpRequest, site: Any) -> HttpResponse:
    """With `live=rows` in the query only what changes: the browser asks for it every two seconds."""
    wanted = JobFilter.from_query(request.GET)
    found = newest(wanted, PAGE, _uuid(request.GET.get("below")))
    context = {
        "filter": wanted,
        "found": found,
        "rows": rows(found),
        "here": list_query(request.GET),
        "older": _older(wanted, found),
        "newest": wanted.query() if request.GET.get("below") else "",
        "tabs": _tabs(wanted),
        "may_operate": request.user.has_perm(OPERATE),
    }
    if request.GET.get("live") == "rows":
        return TemplateResponse(request, "monitor/job_rows.html", context)
    context |= {
        **site.each_context(request),
        "title": "Jobs",
        "subtitle": None,
        "actions": ACTIONS.values(),
        "ages": {key: name for key, (name, _) in AGES.items()},
        "kinds": [kind for kind in kinds() if wanted.shows_internal or not kind.internal],
        "queues": sorted({kind.queue for kind in kinds()} | {wanted.queue} - {""}),
        "users": User.objects.order_by("username").values_list("username", flat=True)[:SUGGESTED],
        "error_classes": ErrorGroup.objects.order_by("type").values_list("type", flat=True).distinct()[:SUGGESTED],
    }
    return TemplateResponse(request, "monitor/job_list.html", context)


def rows(found: Found) -> list[tuple[Job, Any]]:
    """Each job with its times."""
    now = timezone.now()
    return [(job, times(job, now)) for job in found.jobs]


def list_query(query: Mapping[str, Any]) -> str:
    """The query of this page of the list, without what it does not know."""
    below = _uuid(query.get("below"))
    known = JobFilter.from_query(query).query()
    return "&".join(filter(None, (known, f"below={below}" if below else "")))


def _older(wanted: JobFilter, found: Found) -> str:
    return f"{wanted.query()}&below={found.older}" if found.older else ""


def _tabs(wanted: JobFilter) -> list[dict[str, Any]]:
    """A link for each status, with the number of unfinished jobs."""
    numbers = unfinished_counts()
    tabs = [{"name": "all", "query": wanted.query(status=""), "active": not wanted.status, "count": ""}]
    for status in Status.values:
        tabs.append(
            {
                "name": status,
                "query": wanted.query(status=status),
                "active": wanted.status == status,
                "count": numbers.get(status, ""),
            }
        )
    return tabs


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text or "")
    except ValueError:
        return None
