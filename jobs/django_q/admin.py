"""django-q's models in the admin, read-only: a user who could edit a schedule could have any function called."""

from typing import Any, ClassVar

from django.contrib import admin
from django.http import HttpRequest
from django_q.admin import FailAdmin, QueueAdmin, ScheduleAdmin, TaskAdmin
from django_q.models import Failure, OrmQ, Schedule, Success


class ReadOnly:
    """A mixin before one of django-q's pages: rows are shown, and neither edited, deleted nor run again."""

    actions: ClassVar = ()
    list_editable: ClassVar = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlySchedules(ReadOnly, ScheduleAdmin):  # type: ignore[misc]
    pass


class ReadOnlySuccesses(ReadOnly, TaskAdmin):  # type: ignore[misc]
    pass


class ReadOnlyFailures(ReadOnly, FailAdmin):  # type: ignore[misc]
    pass


class ReadOnlyQueue(ReadOnly, QueueAdmin):  # type: ignore[misc]
    pass


PAGES: dict[Any, Any] = {Schedule: ReadOnlySchedules, Success: ReadOnlySuccesses, Failure: ReadOnlyFailures}


def replace_pages() -> None:
    """Register the pages of schedules and finished tasks; the page of queued tasks is in queued_tasks.py."""
    for model, page in PAGES.items():
        if admin.site.is_registered(model):
            admin.site.unregister(model)
        admin.site.register(model, page)


if admin.site.is_registered(OrmQ):
    admin.site.unregister(OrmQ)
