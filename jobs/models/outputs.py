"""The files that handlers produce: a row says where each is stored, and which attempt it is the output of.

The row is there before the file and goes after it, so that no file is ever forgotten, whatever is killed. It is the
output of its job once that very attempt has succeeded, so never the work of one that failed, was lost or given up.
"""

import secrets
from collections.abc import Callable
from datetime import timedelta
from functools import partial
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

log = structlog.get_logger(__name__)

WRITTEN_WITHIN = timedelta(days=2)
"""More than any attempt lasts: an older row without a size is nobody's who could still write its file."""
BATCH = 100
OUTAGE_PAUSE = 1.0
"""Seconds between two tries while the database is away; the attempt's timeout bounds them."""


class OutputQuerySet(models.QuerySet[Any]):
    def finished(self) -> Self:
        """Those of succeeded jobs."""
        return self.of_attempts({Status.SUCCEEDED}).filter(size__isnull=False)

    def unwanted(self) -> Self:
        """Those of jobs that are deleted and of attempts that have failed; what may still be written is left alone."""
        wanted = self.model.objects.of_attempts({Status.RUNNING, Status.SUCCEEDED})
        over = Q(size__isnull=False) | Q(created_at__lt=timezone.now() - WRITTEN_WITHIN)
        return self.filter(over).exclude(pk__in=wanted.values("pk"))

    def discard(self) -> int:
        """Delete these rows and their files; returns how many. A file that resists keeps its row for the next time."""
        count, last = 0, UUID(int=0)
        while batch := list(self.filter(pk__gt=last).order_by("pk")[:BATCH]):
            last = batch[-1].pk
            count += sum(output.discarded() for output in batch)
        return count

    def of_attempts(self, statuses: set[Status]) -> Self:
        """Those of the latest attempt of a job in one of these states.

        The number of an attempt that was handed back is used again, but not by the same worker.
        """
        return self.filter(job__attempt=F("attempt"), job__worker=F("worker"), job__status__in=statuses)


def new_place() -> str:
    """An unguessable name in the storage, in one of 256 folders."""
    token = secrets.token_hex(16)
    return f"outputs/{token[:2]}/{token}"


class Output(models.Model):
    """A file that an attempt has produced. place: its name in the storage. size: in bytes; none until it is stored."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # It outlives its job until the file is deleted, and must not make the deletion of jobs any slower.
    job = models.ForeignKey("Job", models.DO_NOTHING, db_constraint=False, related_name="+")
    attempt = models.PositiveIntegerField()
    worker = models.CharField(max_length=100)
    place = models.CharField(max_length=255, default=new_place)
    filename = models.CharField(max_length=255, help_text="For whoever downloads it.")
    content_type = models.CharField(max_length=100)
    size = models.BigIntegerField(null=True, blank=True)
    created_at = models.DateTimeField(default=timezone.now)

    objects = OutputQuerySet.as_manager()

    def __str__(self) -> str:
        return f"{self.filename} of {self.job_id}"

    def store(self, file: IO[bytes]) -> None:
        """Keep the row, then the file, then say that it is whole. Not inside a transaction, which could take the row
        back and leave the file."""
        _write(self.save)
        self.size = file.seek(0, 2)
        file.seek(0)
        self.place = default_storage.save(self.place, File(file))
        _write(partial(self.save, update_fields=["place", "size"]))
        log.info("output_stored", output=str(self.pk), size=self.size)

    def discard(self) -> None:
        """Delete the file, if there is one, then the row."""
        default_storage.delete(self.place)
        self.delete()

    def discarded(self) -> bool:
        """As discard(), and whether it could be done; a storage has errors of its own."""
        try:
            self.discard()
        except Exception:
            log.warning("output_not_discarded", output=str(self.pk), exc_info=True)
            return False
        return True


def _write(save: Callable[[], None]) -> None:
    """Write a row, however often the connection is cut: the handler, whose file it is, has done nothing wrong.

    It may have been written already when the connection broke, so the same call has to be harmless the second time.
    """
    while True:
        try:
            with transaction.atomic(durable=True):
                return save()
        except (OperationalError, InterfaceError):
            log.warning("output_waits_for_database", exc_info=True)
            sleep(OUTAGE_PAUSE)
            close_old_connections()
