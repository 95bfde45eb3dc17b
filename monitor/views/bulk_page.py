"""The confirmation of an action on many jobs: it says how many, and nothing is done before the operator confirms."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from jobs.models import Job
from monitor.bulk import ACTIONS, Order, submit_order
from monitor.dashboard.counts import Count
from monitor.job_filter import JobFilter
from monitor.job_search import count
from monitor.views.job_page import operator, priority
from monitor.views.permissions import OPERATE, requires

MAX_SELECTED = 1000
COUNT_WITHIN = 1.0
"""Seconds for counting what a filter matches."""


@require_POST
@requires(OPERATE)
def bulk_page(request: HttpRequest, site: Any) -> HttpResponse:
    """Without `confirmed` nothing is changed."""
    wanted = JobFilter.from_query(request.POST)
    back = f"{reverse('admin:jobs_job_changelist')}?{wanted.query()}"
    action = ACTIONS.get(request.POST.get("action", ""))
    ids = _ids(request.POST.getlist("ids"))
    everything = request.POST.get("everything") == "1"
    if action is None or not (ids or everything):
        messages.warning(request, "Choose jobs and an action.")
        return HttpResponseRedirect(back)
    value = priority(request.POST.get("value"))
    if everything:
        ids = ()
    number = _number(wanted, ids)
    order = Order(action.name, wanted, ids, value, number.number)
    if request.POST.get("confirmed") == "1":
        job = submit_order(order, operator(request))
        return HttpResponseRedirect(reverse("admin:jobs_job_change", args=[job.pk]))
    context = {
        **site.each_context(request),
        "title": f"{action.title}: {number} {'job' if str(number) == '1' else 'jobs'}?",
        "action": action,
        "number": number,
        "ids": order.ids,
        "filter": wanted,
        "value": value,
        "back": back,
    }
    return TemplateResponse(request, "monitor/bulk.html", context)


def _number(wanted: JobFilter, ids: tuple[str, ...]) -> Count:
    if ids:
        return Count(Job.objects.filter(pk__in=ids).count(), True)
    return Count(*count(wanted, COUNT_WITHIN))


def _ids(texts: list[str]) -> tuple[str, ...]:
    """The valid ids among the first MAX_SELECTED."""
    found = []
    for text in texts[:MAX_SELECTED]:
        try:
            found.append(str(UUID(text)))
        except ValueError:
            continue
    return tuple(found)
