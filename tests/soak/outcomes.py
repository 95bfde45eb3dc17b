"""Whether each job has ended as its kind does."""

from collections.abc import Iterator
from uuid import UUID

from django.db.models import Count

from jobs.models import Job
from jobs.models.states import Status
from tests.soak.kinds import ENDS


def wrong_ends() -> Iterator[str]:
    """A sentence for each kind of which jobs ended with a wrong status."""
    ends = Job.objects.values_list("kind", "status").annotate(count=Count("pk"))
    for kind, status, count in ends:
        if status != ENDS.get(kind, Status.SUCCEEDED):
            yield f"{count} jobs {kind} are {status}, such as {_example(kind, status)}."


def _example(kind: str, status: str) -> UUID | None:
    return Job.objects.filter(kind=kind, status=status).values_list("pk", flat=True).first()
