"""Counters that only grow, for /metrics: each process adds to the same row, so any process can tell the total."""

from collections.abc import Mapping
from typing import Any

from django.db import models
from django.db.models import F

Labels = tuple[str, str]
"""A subject (a kind, a mail service) and an outcome."""


class CounterQuerySet(models.QuerySet[Any]):
    def add(self, name: str, numbers: Mapping[Labels, int]) -> None:
        """Add to the rows of this name. Rows are locked in the order of their labels, until the transaction ends."""
        for (subject, outcome), number in sorted(numbers.items()):
            labels = {"name": name, "subject": subject, "outcome": outcome}
            if not self._increase(labels, number):
                self.bulk_create([self.model(**labels)], ignore_conflicts=True)
                self._increase(labels, number)

    def totals(self, name: str) -> dict[Labels, int]:
        rows = self.filter(name=name).order_by("subject", "outcome").values_list("subject", "outcome", "count")
        return {(subject, outcome): count for subject, outcome, count in rows}

    def _increase(self, labels: dict[str, str], number: int) -> int:
        return self.filter(**labels).update(count=F("count") + number)


class Counter(models.Model):
    """How often something has happened since the installation."""

    name = models.CharField(max_length=50)
    subject = models.CharField(max_length=100)
    outcome = models.CharField(max_length=50)
    count = models.BigIntegerField(default=0)

    objects = CounterQuerySet.as_manager()

    class Meta:
        constraints = (models.UniqueConstraint(name="one_row_of_counter", fields=("name", "subject", "outcome")),)

    def __str__(self) -> str:
        return f"{self.name} {self.subject} {self.outcome} {self.count}"
