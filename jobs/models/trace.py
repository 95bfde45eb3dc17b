"""Where a job belongs in a trace. Written and read only while tracing is on (jobs/tracing.py)."""

from datetime import datetime
from typing import Any, Self

from django.db import models
from django.db.models import Exists, OuterRef

from jobs.models.queryset import first_id_at


class TraceQuerySet(models.QuerySet[Any]):
    def orphaned(self, before: datetime) -> Self:
        """Traces from before this time whose jobs have been deleted or were never stored."""
        jobs = self.model.job.field.related_model._base_manager  # importing Job would be a cycle
        return self.filter(~Exists(jobs.filter(pk=OuterRef("pk"))), pk__lt=first_id_at(before))


class Trace(models.Model):
    """The traceparent (W3C Trace Context) of the request or attempt that submitted a job."""

    # No constraint: the row is written before the job, so that the worker that claims the job sees it.
    job = models.OneToOneField("Job", models.DO_NOTHING, primary_key=True, db_constraint=False, related_name="+")
    traceparent = models.CharField(max_length=55)

    objects = TraceQuerySet.as_manager()

    def __str__(self) -> str:
        return self.traceparent
