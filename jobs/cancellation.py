"""Cancelling a job, together with what its kind says belongs to it."""

from contextlib import suppress

from django.db import transaction

from jobs.models import Job
from jobs.registry import UnknownKind, find


def cancel(job: Job) -> None:
    """As Job.cancel(), which raises AlreadyFinished; then the kind's on_cancel, in the same transaction."""
    with transaction.atomic():
        job.cancel()
        with suppress(UnknownKind):
            if on_cancel := find(job.kind).on_cancel:
                on_cancel(job.pk)
