"""Registers the admin of django-q's queued tasks. Jobs themselves are shown by the task monitor (monitor/)."""

from jobs.django_q.queued_tasks import QueuedTasksAdmin

__all__ = ["QueuedTasksAdmin"]
