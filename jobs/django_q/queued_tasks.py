"""The admin's page of queued plain tasks where the broker is not the database: what it holds is asked from it."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django_q.admin import QueueAdmin
from django_q.brokers import get_broker
from django_q.brokers.orm import ORM
from django_q.models import OrmQ

MOST = 200
"""Tasks that are shown."""

if admin.site.is_registered(OrmQ):
    admin.site.unregister(OrmQ)


@admin.register(OrmQ)
class QueuedTasksAdmin(QueueAdmin):  # type: ignore[misc]
    """django-q's own page where the tasks are in its table."""

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        broker = get_broker()
        if isinstance(broker, ORM) or not self.has_view_permission(request):
            page: HttpResponse = super().changelist_view(request, extra_context)
            return page
        context = {**self.admin_site.each_context(request), "title": "Queued tasks", **_contents(broker)}
        return TemplateResponse(request, "jobs/queued_tasks.html", context)


def _contents(broker: Any) -> dict[str, Any]:
    """What the page shows. Amazon SQS shows nobody its messages without hiding them from the workers."""
    try:
        waiting, taken = broker.queue_size(), broker.lock_size()
        found = broker.peek(MOST) if hasattr(broker, "peek") else []
    except Exception as error:  # each broker has its own
        return {"summary": f"The broker does not answer: {error}", "tasks": []}
    summary = f"Queue {broker.queue_name}: {waiting} tasks wait, {taken} were taken and not acknowledged."
    return {"summary": summary, "tasks": [_row(package, lock) for package, lock in found]}


def _row(package: bytes, lock: Any) -> OrmQ:
    """As django-q's table would hold it: the model reads the package."""
    return OrmQ(payload=package.decode(), lock=lock)
