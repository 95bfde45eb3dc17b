"""Streams: a user's name for a sort of mail, such as "news", and the addresses that do not want it."""

import re
from collections.abc import Iterable
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.utils import timezone

from mail.addresses.normalize import address_digest, mask_address, normalize_address

LONGEST_NAME = 50
STREAM_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,49}")


class StreamQuerySet(models.QuerySet[Any]):
    def ensure(self, named: Iterable[tuple[int, str]]) -> None:
        """Create those of these streams, (user's id, name), that do not exist."""
        missing = [Stream(user_id=user_id, name=name) for user_id, name in sorted(set(named))]
        if missing:
            self.bulk_create(missing, ignore_conflicts=True)


class Stream(models.Model):
    """A user's stream. Created with its first message or its first suppression."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="streams", db_index=False)
    name = models.SlugField(max_length=LONGEST_NAME)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    stopped_at = models.DateTimeField(null=True, blank=True, help_text="Since when the guard keeps its mail back.")
    stop_reason = models.CharField(max_length=300, default="", blank=True)
    watched_from = models.DateTimeField(null=True, blank=True, help_text="The guard counts mail sent since then.")

    objects = StreamQuerySet.as_manager()

    class Meta:
        ordering = ("name",)
        constraints = (models.UniqueConstraint(name="one_stream_of_a_name", fields=("user", "name")),)

    def __str__(self) -> str:
        return self.name


class StreamSuppressionQuerySet(models.QuerySet[Any]):
    def of(self, user_id: int | None, stream: str) -> Self:
        return self.filter(user=user_id, stream=stream)

    def forbids(self, user_id: int | None, stream: str, address: str) -> bool:
        """True if this address does not want this stream. It holds for mail that is not critical."""
        return bool(stream) and self.of(user_id, stream).filter(digest=address_digest(address)).exists()

    def forbidden_among(self, user_id: int | None, stream: str, many: Iterable[str]) -> set[str]:
        """Those of these addresses that do not want this stream."""
        if not stream:
            return set()
        by_digest = {address_digest(address): address for address in many}
        found = self.of(user_id, stream).filter(digest__in=by_digest).values_list("digest", flat=True)
        return {by_digest[digest] for digest in found}

    def add(self, user_id: int, stream: str, digest: str, address: str, source: str) -> bool:
        """Suppress this address for this stream; False if it was suppressed before."""
        known = {"address": normalize_address(address)} if address else {}
        _, created = self.get_or_create(
            user_id=user_id, stream=stream, digest=digest, defaults=known | {"source": source}
        )
        return created


class StreamSuppression(models.Model):
    """An address that gets only critical mail of one stream. Only the digest is left once the person was forgotten."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False)
    stream = models.SlugField(max_length=LONGEST_NAME, db_index=False)
    digest = models.CharField(max_length=64, editable=False)
    address = models.CharField(max_length=320, default="", blank=True, db_index=True)
    source = models.CharField(max_length=50, help_text="A user's name, or one-click.")
    created_at = models.DateTimeField(default=timezone.now)

    objects = StreamSuppressionQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = (
            models.UniqueConstraint(name="one_suppression_of_a_stream", fields=("user", "stream", "digest")),
        )

    def __str__(self) -> str:
        return f"{self.stream} {mask_address(self.address) if self.address else self.digest[:12]}"
