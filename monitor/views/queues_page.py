"""Queues and kinds: what waits and runs in each, and pausing and resuming them."""

from collections import defaultdict
from typing import Any

from django.contrib import messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe

from jobs.models import Cluster, Pause
from jobs.registry import kinds
from monitor.dashboard.figures import by_kind, latest_depth
from monitor.views.permissions import PAUSE, VIEW, requires


@require_safe
@requires(VIEW)
def queues_page(request: HttpRequest, site: Any) -> HttpResponse:
    context = _tables(request)
    if request.GET.get("live") == "queues":
        return TemplateResponse(request, "monitor/queue_tables.html", context)
    return _page(request, site, context)


@require_POST
@requires(PAUSE)
def pause(request: HttpRequest, site: Any) -> HttpResponse:
    """Fields of the form: name, reason; scope, which is needed only if a queue and a kind have this name."""
    scope, name = request.POST.get("scope", ""), request.POST.get("name", "").strip()
    reason = request.POST.get("reason", "").strip()[:200]
    scopes = [known for known, names in _names().items() if name in names and scope in ("", known)]
    if len(scopes) != 1 or not reason:
        messages.error(request, _refusal(name, scopes))
        return _page(request, site, _tables(request) | {"typed": request.POST}, status=400)
    values = {"reason": reason, "by": request.user.get_username()[:150], "since": timezone.now()}
    paused, _ = Pause.objects.update_or_create(scope=scopes[0], name=name, defaults=values)
    _log(request, f"Pause {scopes[0]} {name}", reason)
    messages.success(request, f"Paused the {paused}; running jobs go on.")
    return HttpResponseRedirect(reverse("admin:monitor_queues"))


def _refusal(name: str, scopes: list[str]) -> str:
    match len(scopes):
        case 0:
            return "There is no such queue or kind."
        case 1:
            return "Give a reason: other operators will want to know why it is paused."
    return f"There are a queue and a kind {name}: choose one of them."


def _page(request: HttpRequest, site: Any, context: dict[str, Any], status: int = 200) -> HttpResponse:
    context |= {
        **site.each_context(request),
        "title": "Queues and kinds",
        "subtitle": None,
        "names": [(scope, name) for scope, names in _names().items() for name in sorted(names)],
    }
    return TemplateResponse(request, "monitor/queues.html", context, status=status)


def _tables(request: HttpRequest) -> dict[str, Any]:
    return {"queues": _queues(), "kinds": _kinds(), "may_pause": request.user.has_perm(PAUSE)}


@require_POST
@requires(PAUSE)
def resume(request: HttpRequest, site: Any) -> HttpResponse:
    """Fields of the form: scope, name."""
    scope, name = request.POST.get("scope", ""), request.POST.get("name", "")
    if Pause.objects.filter(scope=scope, name=name).delete()[0]:
        _log(request, f"Resume {scope} {name}", "")
        messages.success(request, f"Resumed the {scope} {name}.")
    return HttpResponseRedirect(reverse("admin:monitor_queues"))


def _names() -> dict[str, set[str]]:
    """By scope, with those of which only stored jobs are known: another release may serve them."""
    depth = latest_depth()
    queues = {kind.queue for kind in kinds()} | {row["queue"] for row in depth}
    return {
        Pause.Scope.QUEUE: queues,
        Pause.Scope.KIND: {kind.name for kind in kinds()} | {row["kind"] for row in depth},
    }


def _queues() -> list[dict[str, Any]]:
    numbers: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
    for row in latest_depth():
        numbers[row["queue"]][row["status"]] += row["count"]
        if row["status"] == "queued" and row["oldest"]:
            numbers[row["queue"]]["oldest"] = min(numbers[row["queue"]].get("oldest") or row["oldest"], row["oldest"])
    clusters = [cluster for cluster in Cluster.objects.all() if not cluster.lost]
    paused = {pause.name: pause for pause in Pause.objects.filter(scope=Pause.Scope.QUEUE)}
    names = sorted({kind.queue for kind in kinds()} | set(numbers))
    return [
        {
            "name": name,
            "numbers": dict(numbers[name]),
            "pause": paused.get(name),
            "clusters": [cluster for cluster in clusters if cluster.queue in ("", name)],
        }
        for name in names
    ]


def _kinds() -> list[dict[str, Any]]:
    depth: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in latest_depth():
        depth[row["kind"]][row["status"]] += row["count"]
    recent = dict(by_kind())
    paused = {pause.name: pause for pause in Pause.objects.filter(scope=Pause.Scope.KIND)}
    return [
        {"kind": kind, "numbers": dict(depth[kind.name]), "hour": recent.get(kind.name), "pause": paused.get(kind.name)}
        for kind in kinds()
    ]


def _log(request: HttpRequest, what: str, reason: str) -> None:
    if isinstance(request.user, User):
        LogEntry.objects.create(
            user=request.user,
            content_type=ContentType.objects.get_for_model(Pause),
            object_repr=what[:200],
            action_flag=CHANGE,
            change_message=reason,
        )
