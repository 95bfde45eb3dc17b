"""A Django cache backend in the database: the cache shared by all processes when CACHE_URL names no Redis server.

django-q stores the results of Iter and of cached tasks there, and the status of its clusters.
"""

import base64
import pickle
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Self

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import IntegrityError, models, transaction
from django.db.models import Q
from django.utils import timezone

Timeout = Any
"""Seconds, None for no expiry, or DEFAULT_TIMEOUT."""


class CacheEntryQuerySet(models.QuerySet[Any]):
    def unexpired(self) -> Self:
        return self.filter(Q(expires__isnull=True) | Q(expires__gt=timezone.now()))

    def expired(self) -> Self:
        return self.filter(expires__lte=timezone.now())


class CacheEntry(models.Model):
    """A key and its pickled value in base64. expires: NULL means never."""

    cache_key = models.CharField(max_length=255, primary_key=True)
    value = models.TextField()
    expires = models.DateTimeField(null=True, db_index=True)

    objects = CacheEntryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "cache entries"

    def __str__(self) -> str:
        return self.cache_key


class DatabaseCache(BaseCache):
    """Differs from Django's database cache: reads never write (safe requests may not), database errors are raised, and
    a write does not count the rows."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self.get_many([key], version).get(key, default)

    def get_many(self, keys: Iterable[str], version: int | None = None) -> dict[str, Any]:
        wanted = {self.make_and_validate_key(key, version=version): key for key in keys}
        rows = CacheEntry.objects.unexpired().filter(pk__in=wanted).values_list("pk", "value")
        return {wanted[key]: pickle.loads(base64.b64decode(value)) for key, value in rows}  # noqa: S301 our own table

    def has_key(self, key: str, version: int | None = None) -> bool:
        return CacheEntry.objects.unexpired().filter(pk=self.make_and_validate_key(key, version=version)).exists()

    def set(self, key: str, value: Any, timeout: Timeout = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        entry = self._entry(key, value, timeout, version)
        CacheEntry.objects.bulk_create(
            [entry], update_conflicts=True, unique_fields=["cache_key"], update_fields=["value", "expires"]
        )

    def add(self, key: str, value: Any, timeout: Timeout = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Set the key if it is absent. Of several concurrent calls exactly one returns True: usable as a lock."""
        entry = self._entry(key, value, timeout, version)
        CacheEntry.objects.expired().filter(pk=entry.pk).delete()
        try:
            with transaction.atomic(using=CacheEntry.objects.db):
                entry.save(force_insert=True)
        except IntegrityError:
            return False
        return True

    def touch(self, key: str, timeout: Timeout = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        entries = CacheEntry.objects.unexpired().filter(pk=self.make_and_validate_key(key, version=version))
        return entries.update(expires=self._expires(timeout)) == 1

    def delete(self, key: str, version: int | None = None) -> bool:
        count, _ = CacheEntry.objects.filter(pk=self.make_and_validate_key(key, version=version)).delete()
        return count == 1

    def delete_many(self, keys: Iterable[str], version: int | None = None) -> None:
        CacheEntry.objects.filter(
            pk__in=[self.make_and_validate_key(key, version=version) for key in keys or ()]
        ).delete()

    def clear(self) -> None:
        CacheEntry.objects.all().delete()

    def _entry(self, key: str, value: Any, timeout: Timeout, version: int | None) -> CacheEntry:
        return CacheEntry(
            cache_key=self.make_and_validate_key(key, version=version),
            value=base64.b64encode(pickle.dumps(value)).decode(),
            expires=self._expires(timeout),
        )

    def _expires(self, timeout: Timeout) -> datetime | None:
        at = self.get_backend_timeout(timeout)
        return None if at is None else datetime.fromtimestamp(at, UTC)
