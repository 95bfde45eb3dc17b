"""Files that handlers produce. A row names the file in the storage and the attempt that wrote it.

The row is written before the file and deleted after it, so a process that is killed in between leaves no file without
a row. The file counts as the job's output only if the attempt that wrote it succeeded.
"""

import secrets
from collections.abc import Callable
from datetime import timedelta
from time import sleep
from typing import IO, Any, Self
from uuid import UUID

import structlog
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import InterfaceError, OperationalError, close_old_connections, models, transaction
from django.db.models import F, Q
from django.utils import timezone

from jobs.models.ids import new_id
from jobs.models.states import Status
from rest import outage

log = structlog.get_logger(__name__)

WRITTEN_WITHIN = timedelta(days=2)
"""Longer than any attempt: the writer of an older row without a size is gone."""
BATCH = 100
OUTAGE_PAUSE = 1.0
"""Seconds between two tries while the database is unreachable. The attempt's timeout limits their number."""


class OutputQuerySet(models.QuerySet[Any]):
    def finished(self) -> Self:
        """Outputs of succeeded jobs."""
        return self.of_attempts({Status.SUCCEEDED}).filter(size__isnull=False)

    def orphaned(self) -> Self:
        """Files of deleted jobs and of attempts that did not succeed, without those that may still be written."""
        needed = self.model.objects.of_attempts({Status.RUNNING, Status.SUCCEEDED})
        no_writer = Q(size__isnull=False) | Q(created_at__lt=timezone.now() - WRITTEN_WITHIN)
        return self.filter(no_writer).exclude(pk__in=needed.values("pk"))

    def bytes_of(self, user_id: int) -> int:
        """The size of all files of the user's jobs."""
        return self.filter(job__user=user_id).aggregate(total=models.Sum("size"))["total"] or 0

    def discard(self) -> int:
        """Delete these rows and their files; returns how many. If a file cannot be deleted, its row stays."""
        count, last = 0, UUID(int=0)
        while batch := list(self.filter(pk__gt=last).order_by("pk")[:BATCH]):
            last = batch[-1].pk
            count += sum(output.try_discard() for output in batch)
        return count

    def of_attempts(self, statuses: set[Status]) -> Self:
        """Outputs of the latest attempt of a job in one of these states.

        Compares the worker too: the attempt number of a job that was handed back is used again by another worker.
        """
        return self.filter(job__attempt=F("attempt"), job__worker=F("worker"), job__status__in=statuses)


def new_place() -> str:
    """An unguessable file name in the storage, in one of 256 folders."""
    token = secrets.token_hex(16)
    return f"outputs/{token[:2]}/{token}"


class Output(models.Model):
    """A file that an attempt wrote. place: its name in the storage. size: bytes; NULL until the file is complete."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # No constraint: the row outlives the job until its file is deleted, and must not slow down deleting jobs.
    job = models.ForeignKey("Job", models.DO_NOTHING, db_constraint=False, related_name="+")
    attempt = models.PositiveIntegerField()
    worker = models.CharField(max_length=100)
    place = models.CharField(max_length=255, default=new_place)
    filename = models.CharField(max_length=255, help_text="The name of the download.")
    content_type = models.CharField(max_length=100)
    size = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = OutputQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.filename} of {self.job_id}"

    def store(self, file: IO[bytes]) -> None:
        """Insert the row, store the file, then set its size. Not inside a transaction: a rollback would leave the file
        without a row."""
        _write(self.save)
        self.size = file.seek(0, 2)
        file.seek(0)
        self.place = default_storage.save(self.place, File(file))
        _write(self._complete)
        log.info("output_stored", output=str(self.pk), size=self.size)

    def _complete(self) -> None:
        """Write the place and the size. The job's row names the file too: clients see it once the attempt succeeds."""
        self.save(update_fields=["place", "size"])
        shown = {"filename": self.filename, "content_type": self.content_type, "size": self.size}
        jobs = Output.job.field.related_model._base_manager.filter(pk=self.job_id)  # importing Job would be a cycle
        jobs.filter(attempt=self.attempt, worker=self.worker).update(output=shown | {"attempt": self.attempt})

    def discard(self) -> None:
        """Delete the file, if it exists, then the row."""
        default_storage.delete(self.place)
        self.delete()

    def try_discard(self) -> bool:
        """discard(), but returns False instead of raising whatever the storage raises."""
        try:
            self.discard()
        except Exception:
            log.warning("output_discard_failed", output=str(self.pk), exc_info=True)
            return False
        return True


def _write(save: Callable[[], None]) -> None:
    """Run a write until it succeeds, however often the connection breaks: a lost connection must not fail the handler.

    The write may have been committed before the connection broke, so it must be idempotent.
    """
    while True:
        try:
            with transaction.atomic(durable=True):
                return save()
        except (OperationalError, InterfaceError) as error:
            if not outage.database.note(error):
                log.warning("output_waits_for_database", retry_in=OUTAGE_PAUSE, exc_info=True)
            sleep(outage.database.pause() or OUTAGE_PAUSE)
            close_old_connections()
