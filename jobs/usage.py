"""How many unfinished jobs each user has, bounded by MAX_QUEUED_JOBS and MAX_QUEUED_JOBS_TOTAL."""

from collections import Counter

from django.conf import settings
from django.db.models import Count, Q

from jobs.models import Job
from jobs.models.queue.due import BY_AGE
from jobs.models.states import UPCOMING, Status
from rest.usage import Usage


def _unfinished_by_user() -> Counter[int | None]:
    found: Counter[int | None] = Counter()
    # One query for each state, because each has its index.
    for state in (BY_AGE, Q(status__in=UPCOMING), Q(status=Status.RUNNING)):
        rows = Job.objects.filter(state).order_by().values_list("user").annotate(number=Count("pk"))
        found.update(dict(rows))
    return found


unfinished_jobs = Usage(
    "unfinished jobs",
    _unfinished_by_user,
    lambda: settings.MAX_QUEUED_JOBS,
    lambda: settings.MAX_QUEUED_JOBS_TOTAL,
)
