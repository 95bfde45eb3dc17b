"""Verbs on many messages and suppressions."""

from typing import Any, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from mail import addresses
from mail.importance import Importance
from mail.status import PENDING, TERMINAL


class MessageQuerySet(models.QuerySet[Any]):
    def pending(self) -> Self:
        return self.filter(status__in=PENDING)

    def unfinished(self) -> Self:
        return self.exclude(status__in=TERMINAL)


class SuppressionQuerySet(models.QuerySet[Any]):
    def in_force(self) -> Self:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=Now()))

    def against(self, address: str, importance: str) -> Any | None:
        """What forbids to write this address mail of this importance; None when nothing does."""
        found = self.in_force().filter(digest=addresses.digest(address))
        return (found if importance == Importance.BULK else found.exclude(scope="bulk")).first()
