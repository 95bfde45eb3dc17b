"""The admin's site: its index is the dashboard, and the monitor's pages stand beside those of the models."""

from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from unfold.sites import UnfoldAdminSite

from monitor.views.dashboard_page import dashboard_page
from monitor.views.errors_page import errors_page
from monitor.views.queues_page import pause, queues_page, resume


class MonitorSite(UnfoldAdminSite):  # type: ignore[misc]
    index_title = "Dashboard"

    def extra_urls(self) -> list[URLPattern]:
        """Their names begin with `admin:`."""

        def page(route: str, name: str, view: Any) -> URLPattern:
            pattern: URLPattern = path(route, self.admin_view(partial(view, site=self)), name=name)
            return pattern

        return [
            page("errors/", "monitor_errors", errors_page),
            page("queues/", "monitor_queues", queues_page),
            page("queues/pause/", "monitor_pause", pause),
            page("queues/resume/", "monitor_resume", resume),
        ]

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        return dashboard_page(request, self, extra_context or {})

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Without unfold's colours, which it writes into each page: they are in monitor.css, as the content security
        policy requires."""
        context: dict[str, Any] = super().each_context(request)
        return context | {"colors": {}}
