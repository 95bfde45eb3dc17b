"""System checks for a configuration that starts but gives wrong results."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Warning, register

LOCMEM = "django.core.cache.backends.locmem.LocMemCache"


@register("databases")
def replicas_need_a_shared_cache(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    if not settings.REPLICAS or settings.CACHES["default"]["BACKEND"] != LOCMEM:
        return []
    return [
        Warning(
            "REPLICA_URLS is set and CACHE_URL is not.",
            hint="After a write, the cache says which replicas a user may read from. A cache in one process's memory is"
            " unknown to the others, where the user may read older data. Set CACHE_URL=redis://…",
            id="legwork.W001",
        )
    ]
