"""The admin's list of queued django-q tasks. Where the broker is not the database, the broker is asked for them."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django_q.brokers import get_broker
from django_q.brokers.orm import ORM
from django_q.models import OrmQ

from jobs.django_q.admin import ReadOnlyQueue

MAX_SHOWN = 200
"""Tasks on the page."""


@admin.register(OrmQ)
class QueuedTasksAdmin(ReadOnlyQueue):
    """django-q's own page if the tasks are in its table."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        broker = get_broker()
        if isinstance(broker, ORM) or not self.has_view_permission(request):
            page: HttpResponse = super().changelist_view(request, extra_context)
            return page
        context = {**self.admin_site.each_context(request), "title": "Queued tasks", **_contents(broker)}
        return TemplateResponse(request, "jobs/queued_tasks.html", context)


def _contents(broker: Any) -> dict[str, Any]:
    """The page's context. No tasks for SQS, whose messages cannot be read without hiding them from workers."""
    try:
        waiting, taken = broker.queue_size(), broker.lock_size()
        found = broker.peek(MAX_SHOWN) if hasattr(broker, "peek") else []
    except Exception as error:  # each broker has its own errors
        return {"summary": f"The broker does not answer: {error}", "tasks": []}
    summary = f"Queue {broker.queue_name}: {waiting} tasks wait, {taken} were taken and not acknowledged."
    return {"summary": summary, "tasks": [OrmQ(payload=package.decode(), lock=lock) for package, lock in found]}
