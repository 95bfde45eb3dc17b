"""The admin of jobs: operators see every job with its errors and tracebacks, and can cancel or restart it."""

import json
from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from jobs.cancellation import cancel
from jobs.django_q.queued_tasks import QueuedTasksAdmin as QueuedTasksAdmin  # imported to register it
from jobs.errors import AlreadyFinished, JobError, NotRestartable, UniqueKeyTaken
from jobs.models import Job
from jobs.models.queryset import JobQuerySet


@admin.register(Job)
class JobAdmin(admin.ModelAdmin):  # type: ignore[type-arg] # generic in its stubs only
    """Shows jobs, cancels and restarts them. Jobs are created by the API and by code, not here."""

    list_display = ("id", "kind", "status", "percent", "attempts", "user", "created_at", "started_at", "finished_at")
    list_filter = ("status", "kind", "queue", "created_at")
    list_select_related = ("user",)
    search_fields = ("=id", "kind", "user__username", "=unique_key", "=request_id")
    search_help_text = "id, kind, user, unique key or request id"
    show_full_result_count = False
    list_per_page = 50
    actions = ("cancel", "restart")
    fields = (
        ("id", "kind", "status"),
        ("user", "queue", "priority", "unique_key", "request_id"),
        "shown_params",
        ("percent", "message"),
        "shown_result",
        "shown_errors",
        ("attempts", "timeout", "worker", "lease_expires_at", "cancel_requested"),
        ("created_at", "run_at", "started_at", "finished_at"),
    )
    readonly_fields = tuple(name for line in fields for name in (line if isinstance(line, tuple) else (line,)))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Job]:
        """Without the large columns, which only a single job's page shows."""
        return super().get_queryset(request).defer("params", "result", "errors")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        """True for the list, whose actions need it; a single job is read-only."""
        return obj is None and super().has_change_permission(request)

    def has_delete_permission(self, request: HttpRequest, obj: Job | None = None) -> bool:
        return super().has_delete_permission(request, obj) and (obj is None or obj.finished)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without bulk deletion, which would delete unfinished jobs too."""
        return {name: action for name, action in super().get_actions(request).items() if name != "delete_selected"}

    @admin.display(description="progress")
    def percent(self, job: Job) -> str:
        return f"{job.progress['percent']:g} %"

    @admin.display
    def message(self, job: Job) -> str:
        return str(job.progress["message"])

    @admin.display
    def attempts(self, job: Job) -> str:
        return f"{job.attempt} of {job.max_attempts or 'any number'}"

    @admin.display(description="params")
    def shown_params(self, job: Job) -> SafeString:
        return _preformatted(json.dumps(job.params, indent=2, ensure_ascii=False))

    @admin.display(description="result")
    def shown_result(self, job: Job) -> SafeString:
        return _preformatted(json.dumps(job.result, indent=2, ensure_ascii=False))

    @admin.display(description="errors")
    def shown_errors(self, job: Job) -> SafeString:
        return format_html_join(
            "",
            "<details><summary>attempt {}, {}: {}: {}</summary>{}</details>",
            ((e["attempt"], e["at"], e["type"], e["message"], _preformatted(e["traceback"])) for e in job.errors),
        )

    @admin.action(description="Cancel", permissions=["change"])
    def cancel(self, request: HttpRequest, jobs: JobQuerySet) -> None:
        self._call_each(request, jobs, cancel, "cancelled, or asked to stop")

    @admin.action(description="Restart", permissions=["change"])
    def restart(self, request: HttpRequest, jobs: JobQuerySet) -> None:
        self._call_each(request, jobs, Job.restart, "queued again")

    def _call_each(self, request: HttpRequest, jobs: JobQuerySet, verb: Callable[[Job], None], done: str) -> None:
        refused: list[JobError] = []
        chosen = list(jobs)
        for job in chosen:
            try:
                verb(job)
            except (AlreadyFinished, NotRestartable, UniqueKeyTaken) as error:
                refused.append(error)
        self.message_user(request, f"{len(chosen) - len(refused)} {done}.")
        for refusal in refused:
            self.message_user(request, str(refusal), messages.WARNING)


def _preformatted(text: str) -> SafeString:
    return format_html('<pre style="white-space: pre-wrap; margin: 0">{}</pre>', text)
