"""The page of one job: its attempts as a picture, errors, data, live progress, and what belongs to it."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.auth.models import User
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from rest_framework.exceptions import NotFound

from jobs.api.download import download
from jobs.models import Job, Output
from jobs.models.states import TERMINAL
from mail.models import Broadcast, Message
from monitor.bulk import ACTIONS, PRIORITIES, Order
from monitor.job_filter import JobFilter
from monitor.job_times import times
from monitor.models import FailedJob
from monitor.timeline import timeline
from monitor.views.job_list import list_query
from monitor.views.permissions import DATA, OPERATE, VIEW, requires


@require_safe
@requires(VIEW)
def job_page(request: HttpRequest, site: Any, pk: UUID) -> HttpResponse:
    """With `live=job` in the query only what changes."""
    job = get_object_or_404(Job.objects.select_related("user"), pk=pk)
    now = timezone.now()
    context = {
        "job": job,
        "came_from": _came_from(request.GET),
        "times": times(job, now),
        "timeline": timeline(job, now),
        "errors": list(reversed(job.errors)),
        "may_operate": request.user.has_perm(OPERATE),
        "may_see_data": request.user.has_perm(DATA),
        "actions": [action for action in ACTIONS.values() if job.status in action.statuses],
        "output": Output.objects.finished().filter(job=job).first() if job.status in TERMINAL else None,
    }
    if request.GET.get("live") == "job":
        return TemplateResponse(request, "monitor/job_live.html", context)
    context |= {
        **site.each_context(request),
        "title": "Job",
        "subtitle": None,
        "group": FailedJob.objects.filter(pk=job.pk).select_related("group").first(),
        "related": _related(job),
        "neighbours": _neighbours(job),
    }
    return TemplateResponse(request, "monitor/job.html", context)


@require_safe
@requires(DATA)
def job_output(request: HttpRequest, site: Any, pk: UUID) -> HttpResponseBase:
    """The file that the job has produced."""
    try:
        return download(request, pk)
    except NotFound:
        raise Http404 from None


@require_POST
@requires(OPERATE)
def act(request: HttpRequest, site: Any, pk: UUID) -> HttpResponse:
    """One action on one job, at once. A deletion without `confirmed` only asks."""
    job = get_object_or_404(Job, pk=pk)
    action = ACTIONS.get(request.POST.get("action", ""))
    if action is None:
        raise Http404
    came_from = _came_from(request.POST)
    here = f"{reverse('admin:jobs_job_change', args=[pk])}{_preserved(came_from)}"
    if action.name == "delete" and job.status in action.statuses and request.POST.get("confirmed") != "1":
        context = {**site.each_context(request), "title": "Delete this job?", "job": job, "came_from": came_from}
        return TemplateResponse(request, "monitor/delete_job.html", context | {"back": here})
    order = Order(action.name, JobFilter(), (str(pk),), value=priority(request.POST.get("value")))
    if order.execute(Job.objects.filter(pk=pk), operator(request)):
        messages.success(request, f"{action.title}: done.")
    else:
        messages.warning(request, f"{action.title} is for {action.allowed}; this job is {_status(pk)}.")
    if not Job.objects.filter(pk=pk).exists():
        return HttpResponseRedirect(f"{reverse('admin:jobs_job_changelist')}?{came_from}")
    return HttpResponseRedirect(here)


def _came_from(given: Mapping[str, Any]) -> str:
    """The query of the list from which the operator came; Django's admin keeps it under this name, too."""
    return list_query(QueryDict(given.get("_changelist_filters", "")))


def _preserved(came_from: str) -> str:
    return f"?{urlencode({'_changelist_filters': came_from})}" if came_from else ""


def priority(text: str | None) -> int:
    """A number from a form, limited to the allowed range; 0 for anything else."""
    try:
        return min(max(int(text or 0), PRIORITIES[0]), PRIORITIES[1])
    except ValueError:
        return 0


def operator(request: HttpRequest) -> User:
    user = request.user
    if not isinstance(user, User):
        raise Http404
    return user


def _status(pk: UUID) -> str:
    return Job.objects.filter(pk=pk).values_list("status", flat=True).first() or "gone"


def _related(job: Job) -> list[tuple[str, str, str]]:
    """What, its name, its URL: the message and the broadcast of a mail job."""
    found = []
    if job.kind.startswith("mail."):
        given = job.params.get("message") if isinstance(job.params, dict) else None
        if given and (message := Message.objects.filter(pk=given).only("subject").first()):
            found.append(("message", message.subject, reverse("admin:mail_message_change", args=[message.pk])))
        if broadcast := Broadcast.objects.filter(pk=job.pk).only("subject").first():
            found.append(("broadcast", broadcast.subject, reverse("admin:mail_broadcast_change", args=[job.pk])))
    return found


def _neighbours(job: Job) -> dict[str, Any]:
    """The jobs, of any kind, that were submitted just before and just after this one."""
    near = Job.objects.only("id")
    return {
        "newer": near.filter(pk__gt=job.pk).order_by("id").first(),
        "older": near.filter(pk__lt=job.pk).order_by("-id").first(),
    }
