"""Settings that are weak, or that do not fit each other."""

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import WARNING, run_checks

from monitor.checkup.problem import Level, Problem
from monitor.dashboard.facts import Facts


def configuration_problems(facts: Facts) -> Iterator[Problem]:
    """Django's checks, those of a deployment too unless this is development, and ours."""
    for found in run_checks(include_deployment_checks=not _is_development()):
        if found.level >= WARNING and not found.is_silenced():
            level = Level.ERROR if found.is_serious() else Level.WARNING
            remedy = found.hint or "See Django's documentation of this check."
            yield Problem(level, f"{found.msg} ({found.id})", remedy, "weak-setting")
    if _is_development():
        yield Problem(
            Level.NOTE,
            "These are the settings of development: their secrets are public.",
            "In production set DJANGO_SETTINGS_MODULE=settings.production.",
            "development-settings",
        )
        return
    if not settings.METRICS_TOKEN and not settings.METRICS_ALLOWED:
        yield Problem(
            Level.NOTE,
            "/metrics is closed to everybody.",
            "Set METRICS_TOKEN or METRICS_ALLOWED if Prometheus is to read it.",
            "metrics-closed",
        )
    if settings.REPLICAS and settings.CACHES["default"]["BACKEND"].endswith(".LocMemCache"):
        yield Problem(
            Level.WARNING,
            "There are replicas and no shared cache: users may not see what they have just written.",
            "Set CACHE_URL to a Redis that all web processes share.",
            "no-shared-cache",
        )


def _is_development() -> bool:
    return not getattr(settings, "SECURE_HSTS_SECONDS", 0)
