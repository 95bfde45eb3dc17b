"""The rate limiter's buckets, as all workers see them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import models


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


class RateBucket(models.Model):
    """Of a provider, or of a receiving domain. The two times: see mail.sending.rates."""

    name = models.CharField(primary_key=True, max_length=255)
    taken_until = models.DateTimeField()
    planned_until = models.DateTimeField()

    objects = RateBucketQuerySet.as_manager()

    def __str__(self) -> str:
        return self.name
