"""Registers the admin pages of django-q's models, read-only. Jobs are shown by the task monitor (monitor/)."""

from jobs.django_q.admin import replace_pages
from jobs.django_q.queued_tasks import QueuedTasksAdmin

replace_pages()

__all__ = ["QueuedTasksAdmin"]
