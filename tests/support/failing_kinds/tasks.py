"""What django-q's own tasks and schedules call in tests."""

from django.contrib.auth.models import User
from django.utils import timezone
from django_q.models import Schedule
from django_q.tasks import async_task, schedule

from jobs.submit import submit

SUBMIT = "tests.support.failing_kinds.tasks.submit_for"


def submit_for(username: str, unique_key: str) -> str:
    """A job by which a client can see that this was called."""
    return str(
        submit("demo.countdown", {"seconds": 0}, user=User.objects.get(username=username), unique_key=unique_key)
    )


def order(username: str) -> None:
    """One task and one schedule, both due at once."""
    async_task(SUBMIT, username, "by a task")
    schedule(SUBMIT, username, "by a schedule", schedule_type=Schedule.ONCE, next_run=timezone.now())
