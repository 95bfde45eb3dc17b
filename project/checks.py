"""System checks for a configuration that starts but gives wrong results."""

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register

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


@register(Tags.security, deploy=True)
def clients_have_addresses(app_configs: Sequence[AppConfig] | None, **options: Any) -> list[CheckMessage]:
    if settings.NUM_PROXIES or not settings.SECURE_PROXY_SSL_HEADER:
        return []
    return [
        Warning(
            "TLS ends at a balancer, and NUM_PROXIES is 0.",
            hint="Every client then has the balancer's address: one who guesses passwords locks out all. Set"
            " NUM_PROXIES to the number of proxies that append to X-Forwarded-For, usually 1.",
            id="legwork.W002",
        )
    ]
