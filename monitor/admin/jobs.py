"""Jobs in the admin: all pages are the monitor's own (monitor/views)."""

from functools import partial
from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from unfold.admin import ModelAdmin

from jobs.models import Job
from monitor.views.bulk_page import bulk_page
from monitor.views.job_list import job_list
from monitor.views.job_page import act, job_output, job_page
from monitor.views.new_job_page import new_job_page


@admin.register(Job)
class JobAdmin(ModelAdmin):  # type: ignore[misc]
    """Only the URLs and permissions are Django's."""

    def get_urls(self) -> list[URLPattern]:
        def page(route: str, name: str, view: Any) -> URLPattern:
            wrapped = self.admin_site.admin_view(partial(view, site=self.admin_site))
            pattern: URLPattern = path(route, wrapped, name=f"jobs_job_{name}")
            return pattern

        return [
            page("", "changelist", job_list),
            page("bulk/", "bulk", bulk_page),
            page("new/", "new", new_job_page),
            page("<uuid:pk>/change/", "change", job_page),
            page("<uuid:pk>/act/", "act", act),
            page("<uuid:pk>/output/", "output", job_output),
            path("<uuid:object_id>/history/", self.admin_site.admin_view(self.history_view), name="jobs_job_history"),
        ]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """For deletions of users, which also delete their jobs."""
        return bool(request.user.has_perm("jobs.delete_job"))

    def history_view(self, request: HttpRequest, object_id: str, extra_context: Any = None) -> HttpResponse:
        response: HttpResponse = super().history_view(request, str(object_id), extra_context)
        return response
