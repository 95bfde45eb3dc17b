"""Cancels a job and calls its kind's on_cancel hook."""

from contextlib import suppress

from django.db import transaction

from jobs.models import Job
from jobs.registry import UnknownKind, find_kind


def cancel(job: Job) -> None:
    """Job.cancel(), then the kind's on_cancel in the same transaction. Raises AlreadyFinished."""
    with transaction.atomic():
        job.cancel()
        with suppress(UnknownKind):
            if on_cancel := find_kind(job.kind).on_cancel:
                on_cancel(job.pk)
