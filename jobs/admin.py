"""Registers the admin of django-q's queued tasks. Jobs themselves are shown by the task monitor (monitor/)."""

from jobs.django_q.admin import replace_pages
from jobs.django_q.queued_tasks import QueuedTasksAdmin

replace_pages()

__all__ = ["QueuedTasksAdmin"]
