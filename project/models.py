"""Token: what one device of a user sends instead of a password. Only its digest is stored."""

from datetime import datetime

from django.db import models
from django.db.models.query import QuerySet
from django.utils import timezone
from knox.models import AbstractAuthToken, AuthTokenManager


class TokenQuerySet(models.QuerySet["Token"]):
    def live(self) -> QuerySet["Token"]:
        return self.filter(models.Q(expiry=None) | models.Q(expiry__gt=timezone.now()))

    def prune(self, batch: int = 1000) -> int:
        """Delete expired tokens in batches, so that no statement locks for long. Returns how many."""
        pruned = 0
        while expired := list(self.filter(expiry__lte=timezone.now()).values_list("pk", flat=True)[:batch]):
            pruned += self.filter(pk__in=expired).delete()[0]
        return pruned


class Token(AbstractAuthToken):  # type: ignore[misc]
    """knox's token, with a name by which its owner recognises the device."""

    name = models.CharField(max_length=100, blank=True)

    objects = AuthTokenManager.from_queryset(TokenQuerySet)()

    class Meta:
        ordering = ("-created",)

    def __str__(self) -> str:
        return self.name or "unnamed device"

    def has_expired(self, now: datetime) -> bool:
        return self.expiry is not None and self.expiry <= now
