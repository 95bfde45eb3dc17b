"""The rate limiter's buckets, as all workers see them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import models, transaction
from django.db.models.functions import Now


class RateBucketQuerySet(models.QuerySet[Any]):
    def locked(self, names: Sequence[str], now: datetime) -> "dict[str, RateBucket]":
        """These buckets by name, created if missing, locked until the transaction ends; always in the same order."""
        wanted = self.filter(pk__in=names).order_by("name")
        rows = {row.name: row for row in wanted.select_for_update()}
        if len(rows) < len(set(names)):
            missing = [RateBucket(name=name, taken_until=now, planned_until=now) for name in sorted({*names} - {*rows})]
            self.bulk_create(missing, ignore_conflicts=True)
            rows = {row.name: row for row in wanted.select_for_update()}
        return rows

    def plan_anew(self) -> None:
        """Forget when waiting messages come back: call it when they are made due, or they queue behind their own plan.

        Messages that keep their time take their turn then, or are planned again.
        """
        with transaction.atomic():
            ahead = self.filter(planned_until__gt=Now()).order_by("name").select_for_update()
            self.filter(pk__in=[row.pk for row in ahead]).update(planned_until=Now())


class RateBucket(models.Model):
    """Of a provider, or of a receiving domain. The two times: see mail.sending.rates."""

    name = models.CharField(primary_key=True, max_length=255)
    taken_until = models.DateTimeField()
    planned_until = models.DateTimeField()

    objects = RateBucketQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
