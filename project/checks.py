"""What Django's system checks say of a set-up that would start and not be right."""

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
            hint="What a user has written is remembered in the cache; in a process of its own no other knows of it, and"
            " its user reads older data there. Set CACHE_URL=redis://…",
            id="legwork.W001",
        )
    ]
