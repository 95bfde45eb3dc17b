"""Counts of deleted messages."""

from collections.abc import Mapping
from datetime import date
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F


class FigureQuerySet(models.QuerySet[Any]):
    def add(self, numbers: Mapping[tuple[int | None, date, str], int]) -> None:
        """Add these, by user, day and name. Concurrent calls may create two rows of one figure; readers sum them."""
        for (user_id, day, name), number in numbers.items():
            found = self.filter(user=user_id, day=day, name=name).order_by("pk").first()
            if not found or not self.filter(pk=found.pk).update(number=F("number") + number):
                self.create(user_id=user_id, day=day, name=name, number=number)


class MessageFigure(models.Model):
    """How many messages of a user, since deleted, were created, sent or ended in a status on this day (UTC)."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="message_figures", db_index=False
    )
    day = models.DateField()
    name = models.CharField(max_length=10, help_text="created, sent, or a final status.")
    number = models.PositiveIntegerField()

    objects = FigureQuerySet.as_manager()

    class Meta:
        indexes = (models.Index("day", "user", name="message_figures_of_day"),)

    def __str__(self) -> str:
        return f"{self.day} {self.name} {self.number}"
